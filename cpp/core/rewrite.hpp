// Gives wrappers of a linked ELF file new fatbin containers without moving anything that is there ("layout B" of
// docs/patching.md): the containers are appended in a read-only segment of their own and the wrappers' pointers are
// set to them. The old containers stay, dead. Every byte changed below the old end of the file is handed back for
// undo.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pieces.hpp"
#include "refused.hpp"
#include "segment_slot.hpp"

namespace shim {

struct ContainerEdit {
  std::vector<std::uint64_t> wrappers;  // file offsets of the 24-byte wrappers that will share the container
  std::vector<Piece> pieces;            // the container, in order; the first piece holds its 16-byte header
};

struct ByteEdit {
  std::uint64_t offset = 0;
  std::vector<std::byte> original;
};

struct AppendResult {
  std::uint64_t original_size = 0;
  std::uint64_t size = 0;
  std::uint64_t segment_offset = 0;
  std::uint64_t segment_vaddr = 0;
  std::vector<std::uint64_t> containers;  // file offset of each edit's container
  std::vector<ByteEdit> undo;             // ascending, apart: what stood below original_size
  HeaderSlot slot = HeaderSlot::Moved;
  bool strip_unsafe = false;  // GNU strip and objcopy would damage the file from now on
};

// Writes `output`, which must not exist, as a copy of `input` (mode bits too) with the edits applied. On any failure
// there is no `output`. Memory: the pages of `input`'s tables, plus the edits' own buffers.
// Throws ParseError (malformed input), RefusedError (an input this cannot be done to), std::invalid_argument (bad
// edits), FileError.
AppendResult append_containers(const std::string& input, const std::string& output,
                               std::span<const ContainerEdit> edits);

// Writes `output`, which must not exist: the first `size` bytes of `patched` with the undo edits applied.
// Throws std::invalid_argument when an edit or `size` leaves the file, FileError.
void restore_file(const std::string& patched, const std::string& output, std::uint64_t size,
                  std::span<const ByteEdit> undo);

}  // namespace shim
