// Containers, entry headers, groups: the streaming search, in any chunks, against one piece; then single headers.
#include "fuzz.hpp"

namespace shim::fuzz {
namespace {

std::string found(const Search& search, Bytes file) {
  std::string out;
  for (const FoundContainer& c : search.containers) {
    check_container(c, file);
    add(out, c);
  }
  for (const BrokenContainer& b : search.broken) {
    check(b.at <= file.size() && b.offset <= b.at, "a broken container has its place in the file");
    add(out, b.offset);
    add(out, b.at);
    add(out, b.what);
  }
  for (const FoundWrapper& w : search.wrappers) {
    check(inside(w.offset, kWrapperSize, file.size()), "wrapper inside the file");
    for (const std::uint64_t v : {w.offset, std::uint64_t{w.version}, w.data, w.second}) add(out, v);
  }
  for (const FoundCubin& c : search.cubins) {
    check(inside(c.offset, c.size, file.size()), "bare cubin inside the file");
    check(c.bytes == nullptr || c.bytes->complete(), "a bare cubin is kept whole");
    add(out, c.offset);
    add(out, c.size);
  }
  for (const FoundPtx& t : search.texts) {
    for (const std::uint64_t v : {t.offset, std::uint64_t{t.major}, std::uint64_t{t.minor}, std::uint64_t{t.arch}, std::uint64_t(t.feature)}) add(out, v);
  }
  return out;
}

// parse_entry_header, its tail and its group on the bytes as they are: the header is at offset 0 of a container's body.
void read_entry(Bytes bytes) {
  if (bytes.size() < kEntryFixedSize) return;
  try {
    Entry e = parse_entry_header(bytes, 0, bytes.size());
    check(inside(e.payload_offset(), e.payload_size, bytes.size()), "payload inside the container");
    const Bytes header = bytes.first(e.header_size);
    parse_entry_tail(e, header);
    if (e.kind != kGroup) return;
    for (const Entry& member : parse_group(e, header)) {
      check(inside(member.group_offset, member.group_size, e.decoded_size()), "group member inside the blob");
      check(member.payload_size == e.payload_size, "a member's payload is the group's");
    }
  } catch (const ParseError&) {
  }
}

}  // namespace
}  // namespace shim::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shim::fuzz;
  const Input input(data, size);
  shim::Search whole(input.file.size());
  shim::Search pieces(input.file.size());
  // The search throws for files that hold absurdly many things; both ways of reading must then throw alike.
  std::string errors[2];
  try {
    whole.feed(input.file);
    whole.finish();
  } catch (const shim::ParseError& e) {
    errors[0] = describe(e);
  }
  try {
    for_each_chunk(input.file.size(), input.seed,
                   [&](std::size_t at, std::size_t length) { pieces.feed(input.file.subspan(at, length)); });
    pieces.finish();
  } catch (const shim::ParseError& e) {
    errors[1] = describe(e);
  }
  check(errors[0] == errors[1], "chunks give the same error");
  if (errors[0].empty()) check(found(whole, input.file) == found(pieces, input.file), "chunks give what one piece gives");
  read_entry(input.file);
  if (input.file.size() > shim::kContainerHeaderSize) read_entry(input.file.subspan(shim::kContainerHeaderSize));
  return 0;
}
