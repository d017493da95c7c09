// Where the bytes of a file stand in its rewritten form, when a page-multiple range is cut out of it.
#pragma once

#include <cstdint>
#include <vector>

#include "elf.hpp"

namespace shim {

// Bytes that are left out of the new file. No address changes: the segment around them is split in two. Both ends have
// addresses, and the size is, a multiple of the file's largest segment alignment. Empty = nothing is cut.
struct Cut {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;

  std::uint64_t end() const noexcept { return offset + size; }
  // File offset in the new file; of a byte that is cut: where the cut was.
  std::uint64_t shifted(std::uint64_t old) const noexcept {
    if (old >= end()) return old - size;
    return old < offset ? old : offset;
  }
};

// A range of the original that stands in the new file.
struct KeptRange {
  std::uint64_t offset = 0;  // in the original
  std::uint64_t size = 0;
  std::uint64_t at = 0;      // in the new file
};

// A range of the original and whether it is in the new file.
struct OldRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::int64_t at = -1;  // in the new file; -1 = its bytes are not there
};

struct ChangedRange {
  std::uint64_t offset = 0;  // in the original
  std::uint64_t size = 0;
};

// [0, size) of the original from its first byte to its last: what is kept less what is changed. Of kept ranges that meet
// the one that starts first counts. Neighbours that stand together in both files become one.
std::vector<OldRange> account_for(std::uint64_t size, std::vector<KeptRange> kept, std::vector<ChangedRange> changed);

}  // namespace shim
