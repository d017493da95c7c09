// Gives wrappers of a linked ELF file other fatbin containers, in one of three layouts (docs/patching.md 2). No address
// of anything but containers changes, so code, relocations, symbols and unwind tables stay true.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "arena.hpp"
#include "program_table.hpp"
#include "refused.hpp"

namespace shim {

const char* layout_name(Layout layout) noexcept;  // "repack", "append", "move"

struct RewriteResult {
  Layout layout = Layout::Append;
  std::uint64_t original_size = 0;
  std::uint64_t size = 0;
  std::uint64_t segment_offset = 0;  // of the new segment and its address; 0 for repack, which has none
  std::uint64_t segment_vaddr = 0;
  std::vector<std::uint64_t> containers;                        // file offset of each edit's container
  std::vector<std::pair<std::uint64_t, std::uint64_t>> moved;   // old -> new offset of the section's other containers
  std::vector<OldRange> old;                                    // the original from its first byte to its last
  HeaderSlot slot = HeaderSlot::None;
  bool strip_unsafe = false;  // GNU strip and objcopy would damage the file from now on
  std::uint64_t cut = 0;      // bytes taken out of the middle of the file
};

// Writes `output`, which must not exist, as `input` (mode bits too) with the edits. On any failure there is no `output`.
// Memory: the pages of `input`'s tables, plus the edits' own buffers; contents are copied inside the kernel.
// Throws ParseError (malformed input), RefusedError (an input this cannot be done to), std::invalid_argument (bad
// edits), FileError.
RewriteResult rewrite_containers(const std::string& input, const std::string& output,
                                 std::span<const ContainerEdit> edits, Layout layout);

}  // namespace shim
