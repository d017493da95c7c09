// Section headers and symbols of a file whose fatbin containers were written anew.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "elf.hpp"
#include "offset_map.hpp"

namespace shim {

// Tools find containers through the first section named .nv_fatbin, so that name goes to the new place. Every rewritten
// file has a section _fatbin (the same string, 3 bytes further, so the string table stays as it is): the old section
// where that stays, else a marker that is not loaded. It tells that the file was patched.
struct SectionPlan {
  std::uint32_t old_index = 0;     // of .nv_fatbin
  std::uint64_t alignment = 8;     // of its contents
};

// Nothing when the file has no section headers, or none of that name. Throws RefusedError: two of that name, a file
// that was patched before, no number left for another section.
std::optional<SectionPlan> plan_sections(const Elf& elf);

struct ContainerPlace {
  std::uint64_t vaddr = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

inline constexpr std::uint64_t kMarkerSize = 8;  // zeros; readelf warns of an empty section

// The new table: offsets shifted by the cut, and one header more. `marker`: file offset of the marker; none = the old
// section stays, as _fatbin.
std::vector<std::byte> make_section_table(const Windows& file, const Elf& elf, const SectionPlan& plan,
                                          const ContainerPlace& place, const Cut& cut,
                                          std::optional<std::uint64_t> marker);

struct SymbolEdit {
  std::uint64_t offset = 0;  // in the original
  Elf64_Sym symbol{};        // as it must be
};

// Symbols of .symtab that stand in the old section, as `follow` changes them; it returns whether it did. Debuggers and
// linters read them (nvcc leaves a local `fatbinData` at each container); the loader does not. One pass.
std::vector<SymbolEdit> moved_symbols(const Windows& file, const Elf& elf, const SectionPlan& plan,
                                      const std::function<bool(Elf64_Sym&)>& follow);

}  // namespace shim
