// A new container given in pieces, so that nobody has to hold all of it: bytes in memory, ranges of the file that is
// rewritten, whole files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "disk_file.hpp"

namespace shim {

struct SourceRange {
  std::uint64_t offset = 0;  // of the file that is rewritten
  std::uint64_t size = 0;
};
struct WholeFile {
  std::string path;
};
using Piece = std::variant<Bytes, SourceRange, WholeFile>;

// Bytes of one piece. Throws std::invalid_argument, FileError.
std::uint64_t piece_size(const Piece& piece, const SourceFile& source);

// Size of the container. The first piece must hold its 16-byte header, and that must tell the size of all pieces.
// Throws std::invalid_argument, FileError.
std::uint64_t measure_container(std::span<const Piece> pieces, const SourceFile& source);

// Writes the pieces to `offset` of `out`, `size` bytes in all. Throws std::invalid_argument when a file among them has
// another size than when it was measured, FileError.
void write_container(NewFile& out, std::uint64_t offset, std::uint64_t size, std::span<const Piece> pieces,
                     const SourceFile& source);

}  // namespace shim
