#include "fatbin.hpp"

namespace shim {

namespace {

std::string hex(std::uint64_t value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  do {
    text.insert(text.begin(), digits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return "0x" + text;
}

std::string text_at(Bytes header, std::uint64_t offset, std::uint64_t size, std::uint64_t where, const char* what) {
  if (!inside(offset, size, header.size())) {
    throw ParseError(std::string("fatbin entry: ") + what + " of " + std::to_string(size) + " bytes at " + hex(offset) +
                         " leaves the entry header of " + std::to_string(header.size()) + " bytes",
                     where);
  }
  const auto* start = reinterpret_cast<const char*>(header.data());  // bytes to characters, no integer is formed
  return {start + offset, start + offset + size};
}

// The descriptor of docs/formats.md 3.4. Returns the length of the descriptor part, 0 when there is none.
std::uint64_t parse_descriptor(Entry& entry, Bytes header, std::uint64_t at, std::uint64_t where) {
  if (at == 0) return 0;
  if (!inside(at, 8, header.size())) {
    throw ParseError("fatbin entry: descriptor at " + hex(at) + " leaves the entry header of " +
                         std::to_string(header.size()) + " bytes",
                     where);
  }
  const std::uint64_t text = load<std::uint32_t>(header.data() + at);
  const std::uint64_t length = load<std::uint32_t>(header.data() + at + 4);
  if (entry.kind == kCubin) {
    // The empty option string's NUL comes first, then the copy of .nv.compat.
    if ((entry.flags & kFlagCompat) != 0) entry.compat = text_at(header, text + 1, length, where, "copy of .nv.compat");
    return 8 + align_up(1 + length, 8, where);
  }
  entry.options = text_at(header, text, length, where, "option text");
  return 8 + align_up(length + 1, 8, where);
}

Entry parse_group_member(const Entry& group, Bytes table, std::uint64_t& at) {
  const std::uint64_t where = group.offset;
  if (!inside(at, kEntryFixedSize, table.size())) throw ParseError("fatbin group: member table ends early", where);
  const std::byte* p = table.data() + at;
  Entry member;
  member.offset = group.offset;
  member.header_size = group.header_size;
  member.payload_size = group.payload_size;
  member.compressed_size = group.compressed_size;
  member.uncompressed_size = group.uncompressed_size;
  member.grouped = true;
  member.kind = load<std::uint16_t>(p);
  member.version = load<std::uint16_t>(p + 0x02);
  member.group_offset = load<std::uint32_t>(p + 0x04);
  member.group_size = load<std::uint64_t>(p + 0x08);
  member.minor = load<std::uint16_t>(p + 0x18);
  member.major = load<std::uint16_t>(p + 0x1A);
  member.arch = load<std::uint32_t>(p + 0x1C);
  member.flags = load<std::uint64_t>(p + 0x28) | (group.flags & kFlagCompressed);
  if (!inside(member.group_offset, member.group_size, group.decoded_size())) {
    throw ParseError("fatbin group: member of " + std::to_string(member.group_size) + " bytes leaves the blob of " +
                         std::to_string(group.decoded_size()),
                     where);
  }
  const Bytes sub = table.subspan(at);
  const std::uint64_t descriptor = load<std::uint32_t>(p + 0x14);
  const std::uint64_t name = load<std::uint32_t>(p + 0x20);
  const std::uint64_t name_length = load<std::uint32_t>(p + 0x24);
  std::uint64_t length = kEntryFixedSize;
  if (name != 0) {
    member.name = text_at(sub, name, name_length, where, "name");
    length = checked_add(length, align_up(name_length + 1, 8, where), where);
  }
  length = checked_add(length, parse_descriptor(member, sub, descriptor, where), where);
  if (!inside(at, length, table.size())) throw ParseError("fatbin group: member header leaves the table", where);
  at += length;
  return member;
}

}  // namespace

ContainerHeader parse_container_header(Bytes p, std::uint64_t offset) {
  if (p.size() < kContainerHeaderSize) throw ParseError("fatbin container: file ends inside the 16-byte header", offset);
  const auto magic = load<std::uint32_t>(p.data());
  if (magic != kContainerMagic) {
    throw ParseError("fatbin container: expected magic 0xba55ed50, found " + hex(magic), offset);
  }
  const ContainerHeader header{load<std::uint16_t>(p.data() + 4), load<std::uint16_t>(p.data() + 6),
                               load<std::uint64_t>(p.data() + 8)};
  if (header.version != 1 || header.header_size != kContainerHeaderSize) {
    throw ParseError("fatbin container: expected version 1 with a 16-byte header, found version " +
                         std::to_string(header.version) + " with " + std::to_string(header.header_size) + " bytes",
                     offset);
  }
  return header;
}

Entry parse_entry_header(Bytes p, std::uint64_t offset, std::uint64_t room) {
  if (room < kEntryFixedSize) {
    throw ParseError("fatbin entry: " + std::to_string(room) + " bytes left in the container, a header needs 64", offset);
  }
  Entry e;
  e.offset = offset;
  e.kind = load<std::uint16_t>(p.data());
  e.version = load<std::uint16_t>(p.data() + 0x02);
  e.header_size = load<std::uint32_t>(p.data() + 0x04);
  e.payload_size = load<std::uint64_t>(p.data() + 0x08);
  e.compressed_size = load<std::uint32_t>(p.data() + 0x10);
  e.minor = load<std::uint16_t>(p.data() + 0x18);
  e.major = load<std::uint16_t>(p.data() + 0x1A);
  e.arch = load<std::uint32_t>(p.data() + 0x1C);
  e.flags = load<std::uint64_t>(p.data() + 0x28);
  e.uncompressed_size = load<std::uint64_t>(p.data() + 0x38);
  if (e.header_size < kEntryFixedSize || e.header_size % 8 != 0 || e.header_size > kEntryHeaderLimit) {
    throw ParseError("fatbin entry: header size " + std::to_string(e.header_size) +
                         " (expected a multiple of 8 from 64 to " + std::to_string(kEntryHeaderLimit) + ")",
                     offset);
  }
  if (e.payload_size % 8 != 0 || !inside(e.header_size, e.payload_size, room)) {
    throw ParseError("fatbin entry: header of " + std::to_string(e.header_size) + " and payload of " +
                         std::to_string(e.payload_size) + " bytes do not fit the " + std::to_string(room) +
                         " bytes left in the container",
                     offset);
  }
  if (e.compressed_size > e.payload_size) {
    throw ParseError("fatbin entry: compressed size " + std::to_string(e.compressed_size) +
                         " exceeds the stored payload of " + std::to_string(e.payload_size) + " bytes",
                     offset);
  }
  return e;
}

void parse_entry_tail(Entry& e, Bytes header) {
  if (e.kind == kGroup) return;  // the descriptor offset of a group points at its member table
  const std::uint64_t descriptor = load<std::uint32_t>(header.data() + 0x14);
  const std::uint64_t name = load<std::uint32_t>(header.data() + 0x20);
  const std::uint64_t name_length = load<std::uint32_t>(header.data() + 0x24);
  if (name != 0) e.name = text_at(header, name, name_length, e.offset, "name");
  if (e.kind == kPtx || e.kind == kCubin || e.kind == kLtoIr) parse_descriptor(e, header, descriptor, e.offset);
}

std::vector<Entry> parse_group(const Entry& group, Bytes header) {
  const std::uint64_t at = load<std::uint32_t>(header.data() + 0x14);
  if (at == 0 || !inside(at, 8, header.size())) throw ParseError("fatbin group: no member table", group.offset);
  const std::uint64_t count = load<std::uint32_t>(header.data() + at);
  const std::uint64_t size = load<std::uint32_t>(header.data() + at + 4);
  if (!inside(at, size, header.size()) || size < 8) {
    throw ParseError("fatbin group: member table of " + std::to_string(size) + " bytes leaves the header", group.offset);
  }
  const Bytes table = header.subspan(at, size);
  std::vector<Entry> members;
  std::uint64_t next = 8;
  for (std::uint64_t i = 0; i < count; ++i) members.push_back(parse_group_member(group, table, next));
  return members;
}

}  // namespace shim
