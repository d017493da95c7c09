#include "arena.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "fatbin.hpp"
#include "refused.hpp"

namespace shim {
namespace {

constexpr std::size_t kDropEvery = 32;        // containers looked at between two calls of drop()
constexpr std::uint64_t kContainerUnit = 8;   // containers start at multiples of it

// End of the zeros from `at` on. They are looked at a page at a time, so that an empty section needs no memory.
std::uint64_t skip_zeros(Bytes file, std::uint64_t at, std::uint64_t end, const std::function<void()>& drop) {
  constexpr std::uint64_t step = 1ULL << 22;
  while (at < end) {
    const Bytes part = file.subspan(at, std::min(step, end - at));
    const auto it = std::ranges::find_if(part, [](std::byte b) { return b != std::byte{0}; });
    at += static_cast<std::uint64_t>(it - part.begin());
    if (it != part.end()) return at;
    drop();
  }
  return end;
}

}  // namespace

Arena Arena::of_edits(const SourceFile& source, std::span<const ContainerEdit> edits) {
  Arena arena(edits);
  for (std::size_t i = 0; i < edits.size(); ++i) {
    Placed placed;
    placed.old_offset = edits[i].offset;
    placed.size = measure_container(edits[i].pieces, source);
    placed.edit = i;
    arena.containers_.push_back(placed);
  }
  return arena;
}

Arena Arena::of_section(const SourceFile& source, const Section& section, std::span<const ContainerEdit> edits,
                        const std::function<void()>& drop) {
  Arena arena(edits);
  std::map<std::uint64_t, std::size_t> by_offset;
  for (std::size_t i = 0; i < edits.size(); ++i)
    if (!by_offset.emplace(edits[i].offset, i).second) throw std::invalid_argument("two edits of one container");
  const Bytes file = source.bytes();
  const std::uint64_t end = section.offset + section.size;
  for (std::uint64_t at = section.offset; (at = skip_zeros(file, at, end, drop)) < end;) {
    if ((at - section.offset) % kContainerUnit != 0 || end - at < kContainerHeaderSize ||
        load<std::uint32_t>(file.data() + at) != kContainerMagic)
      throw RefusedError("section .nv_fatbin holds bytes that are no container", at);
    const ContainerHeader header = parse_container_header(file.subspan(at, kContainerHeaderSize), at);
    if (header.body_size > end - at - kContainerHeaderSize)
      throw RefusedError("container leaves section .nv_fatbin", at);
    Placed placed;
    placed.old_offset = at;
    placed.old_size = placed.size = kContainerHeaderSize + header.body_size;
    if (const auto edit = by_offset.extract(at)) {
      placed.edit = edit.mapped();
      placed.size = measure_container(edits[edit.mapped()].pieces, source);
    }
    arena.containers_.push_back(placed);
    at += placed.old_size;
    if (arena.containers_.size() % kDropEvery == 0) drop();
  }
  if (!by_offset.empty())
    throw std::invalid_argument("no container at file offset " + std::to_string(by_offset.begin()->first) +
                                " in section .nv_fatbin");
  return arena;
}

std::uint64_t Arena::place(std::uint64_t start, std::uint64_t align) {
  std::uint64_t end = start;
  for (Placed& placed : containers_) {
    placed.offset = align_up(end, align, placed.old_offset);
    end = checked_add(placed.offset, placed.size, placed.old_offset);
  }
  return end;
}

const Placed* Arena::find(std::uint64_t old_offset) const noexcept {
  const auto it = std::ranges::lower_bound(containers_, old_offset, {}, &Placed::old_offset);
  return it != containers_.end() && it->old_offset == old_offset ? &*it : nullptr;
}

std::vector<KeptRange> Arena::kept(const Section& section, const SourceFile& source) const {
  std::vector<KeptRange> out;
  for (const Placed& placed : containers_) {
    if (!placed.edit) {
      out.push_back({placed.old_offset, placed.size, placed.offset});
      continue;
    }
    std::uint64_t at = placed.offset;
    for (const Piece& piece : edits_[*placed.edit].pieces) {
      const auto* range = std::get_if<SourceRange>(&piece);
      if (range != nullptr && range->offset >= section.offset &&
          inside(range->offset - section.offset, range->size, section.size))
        out.push_back({range->offset, range->size, at});
      at += range != nullptr ? range->size : piece_size(piece, source);
    }
  }
  return out;
}

void Arena::write(NewFile& out, const SourceFile& source) const {
  for (const Placed& placed : containers_) {
    if (placed.edit)
      write_container(out, placed.offset, placed.size, edits_[*placed.edit].pieces, source);
    else
      out.copy_at(placed.offset, source, placed.old_offset, placed.size);
  }
}

}  // namespace shim
