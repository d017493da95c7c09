// Headers of a fatbin container and of its entries (docs/formats.md 2 and 3). Knows nothing of ELF.
#pragma once

#include "bytes.hpp"

namespace shim {

inline constexpr std::uint32_t kContainerMagic = 0xBA55ED50;
inline constexpr std::uint32_t kWrapperMagic = 0x466243B1;
inline constexpr std::size_t kContainerHeaderSize = 16;
inline constexpr std::size_t kWrapperSize = 24;
inline constexpr std::size_t kEntryFixedSize = 0x40;
// Largest entry header (with name and descriptor) that is believed. Real ones stay below 1 KiB.
inline constexpr std::size_t kEntryHeaderLimit = 1 << 16;

enum ImageKind : std::uint16_t { kPtx = 1, kCubin = 2, kLtoIr = 8, kTileIr = 0x80, kGroup = 0x100 };

inline constexpr std::uint64_t kFlagCompressed = 0xF000;
inline constexpr std::uint64_t kFlagLz4 = 0x2000;
inline constexpr std::uint64_t kFlagZstd = 0x8000;
inline constexpr std::uint64_t kFlagArchSpecific = 0x100000;
inline constexpr std::uint64_t kFlagFamilySpecific = 0x200000;
inline constexpr std::uint64_t kFlagCompat = 0x1000000;

struct Entry {
  std::uint64_t offset = 0;  // of the entry header, in the file
  std::uint16_t kind = 0;
  std::uint16_t version = 0;
  std::uint32_t header_size = 0;
  std::uint64_t payload_size = 0;  // as stored
  std::uint32_t compressed_size = 0;
  std::uint16_t minor = 0;
  std::uint16_t major = 0;
  std::uint32_t arch = 0;
  std::uint64_t flags = 0;
  std::uint64_t uncompressed_size = 0;
  std::string name;
  std::string options;  // PTX, LTO-IR
  std::string compat;   // cubins of sm_100 and later: copy of .nv.compat

  // Set for a member of a kind 0x100 group: its place in the decompressed blob. The payload is the group's.
  bool grouped = false;
  std::uint64_t group_offset = 0;
  std::uint64_t group_size = 0;

  std::vector<std::byte> captured;  // the payload, for the few small images whose content the verdict needs

  std::uint64_t payload_offset() const { return offset + header_size; }
  std::uint64_t decoded_size() const {
    if (grouped) return group_size;
    return compressed_size != 0 ? uncompressed_size : payload_size;
  }
};

struct ContainerHeader {
  std::uint16_t version = 0;
  std::uint16_t header_size = 0;
  std::uint64_t body_size = 0;
};

// `p` holds at least kContainerHeaderSize bytes. ParseError when magic, version or header size are not those of a container.
ContainerHeader parse_container_header(Bytes p, std::uint64_t offset);

// The fixed 0x40 bytes; `room` is what is left of the container from this header on. Checks every size against it.
Entry parse_entry_header(Bytes p, std::uint64_t offset, std::uint64_t room);

// Name and descriptor: `header` is the whole entry header (entry.header_size bytes).
void parse_entry_tail(Entry& entry, Bytes header);

// Members of a kind 0x100 entry, read from its header tail.
std::vector<Entry> parse_group(const Entry& group, Bytes header);

}  // namespace shim
