// Section headers and symbols of a file whose fatbin containers moved into a new segment.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "elf.hpp"

namespace shim {

struct MovedContainer {
  std::uint64_t old_vaddr = 0;
  std::uint64_t vaddr = 0;
  std::uint64_t size = 0;
};

// Tools find containers through the first section named .nv_fatbin, so that name goes to the new place; the old section
// is called _fatbin from then on (its name starts 3 bytes further, so the string table stays as it is).
struct SectionPlan {
  std::uint32_t old_index = 0;     // of .nv_fatbin
  std::uint64_t alignment = 8;     // of its contents
};

// Nothing when the file has no section headers, or none of that name. Throws RefusedError: two of that name, a file
// that was patched before, no number left for another section.
std::optional<SectionPlan> plan_sections(const Elf& elf);

// The old table plus one header for [vaddr, vaddr+size) at `offset`.
std::vector<std::byte> make_section_table(const Windows& file, const Elf& elf, const SectionPlan& plan,
                                          std::uint64_t vaddr, std::uint64_t offset, std::uint64_t size);

struct SymbolEdit {
  std::uint64_t offset = 0;  // in the file
  Elf64_Sym symbol{};        // as it must be
};

// Symbols of .symtab that name a moved container (nvcc's local `fatbinData`). Debuggers and linters read them; the
// loader does not. One pass.
std::vector<SymbolEdit> moved_symbols(const Windows& file, const Elf& elf, const SectionPlan& plan,
                                      std::span<const MovedContainer> moved);

}  // namespace shim
