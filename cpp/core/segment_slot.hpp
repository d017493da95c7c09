// Room for one more PT_LOAD: an entry of the program header table, an address and a place in the file.
#pragma once

#include <cstdint>
#include <vector>

#include "elf.hpp"

namespace shim {

enum class HeaderSlot : std::uint8_t {
  Unused,  // a PT_NULL entry is taken
  Note,    // a PT_NOTE entry is taken whose notes nothing reads at run time; its section stays
  Moved,   // the whole table moves into the new segment. GNU strip and objcopy damage such a file afterwards
};

const char* header_slot_name(HeaderSlot slot) noexcept;  // "unused", "note", "moved"

struct SlotChoice {
  HeaderSlot kind = HeaderSlot::Moved;
  std::size_t index = 0;  // of the entry taken
};

// A PT_NOTE is taken only when it holds neither the build-id nor GNU properties (IBT, BTI); notes that cannot be read
// are left alone.
SlotChoice choose_slot(const Windows& file, const Elf& elf);

struct SegmentPlace {
  std::uint64_t offset = 0;  // in the file: after everything, a multiple of align
  std::uint64_t vaddr = 0;   // above all others, a multiple of align
  std::uint64_t align = 0;   // the largest p_align of the file (64 KiB on most aarch64 files)
};

// Throws RefusedError: no loaded segments, an alignment that is none, no addresses left, an executable whose
// kernel-made AT_PHDR would be wrong.
SegmentPlace place_segment(const Windows& file, const Elf& elf, HeaderSlot slot);

// The new table: the taken entry gone, a read-only PT_LOAD of `size` bytes after the last PT_LOAD (they must ascend),
// and PT_PHDR right when the table moves to the start of the segment.
std::vector<std::byte> make_program_headers(const Windows& file, const Elf& elf, const SlotChoice& slot,
                                            const SegmentPlace& place, std::uint64_t size);

}  // namespace shim
