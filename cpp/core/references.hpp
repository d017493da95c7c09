// Everything in a linked file that names an address in its fatbin section and that the loader or another library can
// see: relocations, dynamic symbols, entries of the dynamic section. Whoever moves the containers must know all of it.
// References from code (PC-relative, no relocation left) cannot be seen; nvcc and clang make none, since the containers
// are reached through the wrappers alone.
#pragma once

#include <functional>
#include <vector>

#include "wrapper_pointers.hpp"

namespace shim {

struct AddressRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool contains(std::uint64_t address) const noexcept { return address >= begin && address < end; }
};

// A dynamic symbol that names a container, and through which a wrapper's pointer is relocated.
struct NamedContainer {
  std::uint64_t offset = 0;  // of the symbol, in the file
  Elf64_Sym symbol{};
};

struct References {
  std::vector<WrapperPointer> wrappers;  // ascending by address
  std::vector<NamedContainer> symbols;
};

// drop() is called now and then to free memory, as in resolve_wrapper_pointers.
// Throws RefusedError when anything but a wrapper's pointer leads into `range`, naming it; ParseError.
References find_references(const Windows& file, const Elf& elf, const ElfDynamic& dynamic, const AddressRange& range,
                           const std::function<void()>& drop);

}  // namespace shim
