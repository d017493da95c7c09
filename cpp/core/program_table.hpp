// The program header table of a rewritten file: one segment split around a cut, one segment added, and where the
// entries for that come from.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "elf.hpp"
#include "elf_dynamic.hpp"
#include "offset_map.hpp"

namespace shim {

enum class HeaderSlot : std::uint8_t {
  None,    // no entry more is needed
  Unused,  // PT_NULL entries are taken
  Note,    // a PT_NOTE entry is taken whose notes nothing reads at run time; its section stays
  Moved,   // the whole table moves. GNU strip and objcopy damage such a file afterwards
};

const char* header_slot_name(HeaderSlot slot) noexcept;  // "none", "unused", "note", "moved"

struct SlotChoice {
  HeaderSlot kind = HeaderSlot::None;
  std::vector<std::size_t> taken;  // indices of the entries that go
};

// Room for `needed` entries more. A PT_NOTE is taken only when it holds neither the build-id nor GNU properties (IBT,
// BTI); notes that cannot be read are left alone. When they do not suffice the table moves and none is taken.
SlotChoice choose_slots(const Windows& file, const Elf& elf, std::size_t needed);

// A program, whose loader (the kernel) wants more than a library's: fixed address, an interpreter, or static-pie.
bool is_program(const Elf& elf, const ElfDynamic& dynamic);

// The largest alignment of loaded segments, 4096 at least. Throws RefusedError: an alignment that is none, or that
// address and file offset of a segment do not keep.
std::uint64_t common_alignment(const Elf& elf);

struct SegmentPlace {
  std::uint64_t offset = 0;  // in the file: after everything, a multiple of align
  std::uint64_t vaddr = 0;   // above all others, a multiple of align
  std::uint64_t align = 0;   // common_alignment (64 KiB on most aarch64 files)
};

// Room for a segment after `file_end`. Throws RefusedError: no loaded segments, no addresses left, a program whose
// kernel-made AT_PHDR would be wrong when the table moves (slot) into the segment.
SegmentPlace place_segment(const Elf& elf, const ElfDynamic& dynamic, HeaderSlot slot, std::uint64_t file_end);

// What is left of a segment around a cut. A part that would hold nothing but the cut section's freed bytes goes.
struct Split {
  std::size_t segment = 0;
  Cut cut;
  bool front = false;
  bool back = false;
};

// The largest cut in [from, to) (file offsets) of the segment that holds `section`, or nothing when that is less than
// one unit of `align`. [section.offset, +size) is free in the file but for what stands below `from`.
std::optional<Split> plan_cut(const Elf& elf, std::size_t segment, const Section& section, std::uint64_t from,
                              std::uint64_t align);

struct ProgramPlan {
  SlotChoice slots;
  std::optional<Split> split;
  std::optional<SegmentPlace> added;
  std::uint64_t added_size = 0;
  std::uint64_t table_offset = 0;  // in the new file, and its address; when the table moves
  std::uint64_t table_vaddr = 0;

  std::size_t needed() const noexcept { return (added ? 1U : 0U) + (split && split->front && split->back ? 1U : 0U); }
};

// The new table: offsets shifted by the cut, the segment split, a read-only PT_LOAD after the last PT_LOAD (they must
// ascend), PT_PHDR right. A part of an executable segment that holds no executable section is no longer executable.
std::vector<std::byte> make_program_headers(const Windows& file, const Elf& elf, const ProgramPlan& plan);

}  // namespace shim
