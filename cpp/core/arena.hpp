// The containers that get a new place, in the order in which they will stand there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elf.hpp"
#include "offset_map.hpp"
#include "pieces.hpp"

namespace shim {

enum class Layout : std::uint8_t {
  Repack,  // A: all containers anew in their section, unused pages cut out of the file
  Append,  // B: the edited containers in a new segment, the old ones stay
  Move,    // C: all containers in a new segment, the old section cut out of the file
};

struct ContainerEdit {
  std::uint64_t offset = 0;             // of the old container, in the file
  std::vector<std::uint64_t> wrappers;  // file offsets of the 24-byte wrappers that will share the new one
  std::vector<Piece> pieces;            // the container, in order; the first piece holds its 16-byte header
};

struct Placed {
  std::uint64_t old_offset = 0;
  std::uint64_t old_size = 0;
  std::uint64_t size = 0;
  std::optional<std::size_t> edit;  // its number; none = the container as it was
  std::uint64_t offset = 0;         // in the new file
};

class Arena {
 public:
  // The edited containers, in the order of the edits (append).
  static Arena of_edits(const SourceFile& source, std::span<const ContainerEdit> edits);
  // All containers of a section, ascending: the edited ones and the others. Throws RefusedError when the section holds
  // anything but containers and zeros, std::invalid_argument when an edit's container is not there, ParseError.
  static Arena of_section(const SourceFile& source, const Section& section, std::span<const ContainerEdit> edits,
                          const std::function<void()>& drop);

  // Gives every container its offset; returns the end of the last one.
  std::uint64_t place(std::uint64_t start, std::uint64_t align);

  std::span<const Placed> containers() const noexcept { return containers_; }
  // The container that starts at this old offset, or null.
  const Placed* find(std::uint64_t old_offset) const noexcept;

  // What of the original stands in the new containers: whole ones, and ranges of the section that edits take.
  std::vector<KeptRange> kept(const Section& section, const SourceFile& source) const;
  void write(NewFile& out, const SourceFile& source) const;

 private:
  explicit Arena(std::span<const ContainerEdit> edits) : edits_(edits) {}

  std::span<const ContainerEdit> edits_;
  std::vector<Placed> containers_;
};

}  // namespace shim
