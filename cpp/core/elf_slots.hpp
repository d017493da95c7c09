// What a pointer in a file's data will hold once the loader has relocated it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "elf.hpp"
#include "elf_dynamic.hpp"

namespace shim {

enum class SlotKind : std::uint8_t {
  Rela,     // R_*_RELATIVE: the addend of the relocation is the address
  Relr,     // listed in DT_RELR: the value in place is the address
  InPlace,  // no relocation: the value in place is the address (executables at a fixed address)
  Symbol,   // R_*_64 / ABS64 / GLOB_DAT: symbol value plus addend
};

const char* slot_kind_name(SlotKind kind) noexcept;  // "rela", "relr", "in-place", "symbol"

struct ResolvedSlot {
  std::uint64_t target = 0;            // virtual address
  SlotKind how = SlotKind::InPlace;
  std::uint64_t rela_file_offset = 0;  // of the 24-byte relocation record; 0 unless Rela or Symbol
};

// One result per slot address, in order. A RELA record for the address wins over everything (lld leaves zeros in
// place), then DT_RELR and no relocation at all, where the value in place counts. One pass over the relocation table.
// Throws ParseError: slot not in the file, two relocations for one slot, a relocation type that is no plain address,
// an undefined symbol, Android's packed relocations. For ET_DYN and ET_EXEC.
std::vector<ResolvedSlot> resolve_slots(const Windows& file, const Elf& elf, const ElfDynamic& dynamic,
                                        std::span<const std::uint64_t> slot_vaddrs);

struct ObjectSlot {
  std::uint32_t section = 0;  // index of the section pointed into
  std::uint64_t offset = 0;   // in that section
};

// The same for an unlinked object (ET_REL): the slots are offsets in section `section`, resolved through the relocation
// section that applies to it. Throws ParseError, also when a slot has no relocation.
std::vector<ObjectSlot> resolve_object_slots(const Windows& file, const Elf& elf, std::uint32_t section,
                                             std::span<const std::uint64_t> slot_offsets);

}  // namespace shim
