// The pointers of fatbin wrappers that are about to be changed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "elf_slots.hpp"

namespace shim {

struct WrapperPointer {
  std::uint64_t vaddr = 0;   // of the 8 bytes that hold it
  std::uint64_t offset = 0;  // of them, in the file
  ResolvedSlot now;
};

// Pointers of the wrappers at these file offsets, in order. All must be what they should: a wrapper of version 1 or 2
// in loaded data, its pointer relocated by something that can be changed, and leading to a container.
// drop() is called now and then to free the memory of the pages looked at: a look maps the pages around it too, so
// thousands of them would add up to the whole file.
// Throws std::invalid_argument (no wrapper there), RefusedError, ParseError.
std::vector<WrapperPointer> resolve_wrapper_pointers(const Windows& file, const Elf& elf, const ElfDynamic& dynamic,
                                                     std::span<const std::uint64_t> wrappers,
                                                     const std::function<void()>& drop);

}  // namespace shim
