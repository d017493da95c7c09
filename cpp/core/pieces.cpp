#include "pieces.hpp"

#include <stdexcept>
#include <utility>

#include "fatbin.hpp"

namespace shim {
namespace {

constexpr std::size_t kSizeInHeader = 8;

void check_range(const SourceRange& range, std::uint64_t file_size) {
  if (!inside(range.offset, range.size, file_size))
    throw std::invalid_argument("piece of " + std::to_string(range.size) + " bytes at offset " +
                                std::to_string(range.offset) + " leaves the input file");
}

void check_header(Bytes first, std::uint64_t total) {
  if (first.size() < kContainerHeaderSize)
    throw std::invalid_argument("first piece is smaller than a container header");
  const auto magic = load<std::uint32_t>(first.data());
  const auto header_size = load<std::uint16_t>(first.data() + 6);
  if (magic != kContainerMagic || header_size != kContainerHeaderSize)
    throw std::invalid_argument("new container does not start with a container header");
  const auto body = load<std::uint64_t>(first.data() + kSizeInHeader);
  if (body != total - kContainerHeaderSize)
    throw std::invalid_argument("new container: header says " + std::to_string(body) + " bytes follow, given are " +
                                std::to_string(total - kContainerHeaderSize));
}

}  // namespace

std::uint64_t piece_size(const Piece& piece, const SourceFile& source) {
  if (const auto* bytes = std::get_if<Bytes>(&piece)) return bytes->size();
  if (const auto* whole = std::get_if<WholeFile>(&piece)) return SourceFile(whole->path).size();
  const auto& range = std::get<SourceRange>(piece);
  check_range(range, source.size());
  return range.size;
}

std::uint64_t measure_container(std::span<const Piece> pieces, const SourceFile& source) {
  std::uint64_t total = 0;
  for (const Piece& piece : pieces) total = checked_add(total, piece_size(piece, source), 0);
  if (pieces.empty()) {
    check_header({}, total);
  } else if (const auto* bytes = std::get_if<Bytes>(&pieces.front())) {
    check_header(*bytes, total);
  } else if (const auto* range = std::get_if<SourceRange>(&pieces.front())) {
    check_header(source.bytes().subspan(range->offset, range->size), total);
  } else {
    check_header(SourceFile(std::get<WholeFile>(pieces.front()).path).bytes(), total);
  }
  return total;
}

void write_container(NewFile& out, std::uint64_t offset, std::uint64_t size, std::span<const Piece> pieces,
                     const SourceFile& source) {
  const std::uint64_t end = offset + size;
  const auto take = [&](std::uint64_t wanted) {
    if (!inside(offset, wanted, end)) throw std::invalid_argument("a piece grew while it was written");
    return std::exchange(offset, offset + wanted);
  };
  for (const Piece& piece : pieces) {
    if (const auto* bytes = std::get_if<Bytes>(&piece)) {
      out.write_at(take(bytes->size()), *bytes);
    } else if (const auto* range = std::get_if<SourceRange>(&piece)) {
      out.copy_at(take(range->size), source, range->offset, range->size);
    } else {
      const SourceFile whole(std::get<WholeFile>(piece).path);
      out.copy_at(take(whole.size()), whole, 0, whole.size());
    }
  }
  if (offset != end) throw std::invalid_argument("a piece shrank while it was written");
}

}  // namespace shim
