// What the fuzz targets share: a check that aborts, sizes of chunks taken from the input, and reports as text.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "scan.hpp"

namespace shim::fuzz {

// Not assert(): it must hold in every build type.
inline void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "fuzz check failed: %s\n", what);
  std::abort();
}

// The last two bytes of an input decide how the bytes before them are cut into chunks and what the file is called.
struct Input {
  Bytes file;
  unsigned seed = 0;

  Input(const std::uint8_t* data, std::size_t size) : file(reinterpret_cast<const std::byte*>(data), size) {
    if (size < 2) return;
    seed = load<std::uint16_t>(file.data() + size - 2);
    file = file.first(size - 2);
  }

  std::string name() const {
    constexpr const char* names[] = {"", "a.so", "a.ptx", "a.cubin", "a.fatbin", "a.ltoir", "a.o", "a.a"};
    return names[seed % 8];
  }
};

// Cuts [0, size) into chunks of 1 to 2^k bytes, k from the seed; calls take(offset, length) for each.
template <class Take>
void for_each_chunk(std::size_t size, unsigned seed, Take take) {
  const unsigned mask = (1u << (1 + (seed >> 3) % 13)) - 1;
  unsigned state = seed * 2654435761u + 1;
  for (std::size_t at = 0; at < size;) {
    state = state * 1664525u + 1013904223u;
    const std::size_t length = std::min<std::size_t>(size - at, 1 + ((state >> 8) & mask));
    take(at, length);
    at += length;
  }
}

inline void add(std::string& out, std::uint64_t value) { out += std::to_string(value) + ' '; }

inline void add(std::string& out, const std::string& text) {
  add(out, text.size());
  out += text + ' ';
}

inline void add(std::string& out, const Entry& e) {
  for (const std::uint64_t v : {e.offset, std::uint64_t{e.kind}, std::uint64_t{e.version}, std::uint64_t{e.header_size},
                                e.payload_size, std::uint64_t{e.compressed_size}, std::uint64_t{e.minor},
                                std::uint64_t{e.major}, std::uint64_t{e.arch}, e.flags, e.uncompressed_size,
                                e.group_offset, e.group_size, std::uint64_t{e.grouped}}) {
    add(out, v);
  }
  for (const std::string& text : {e.name, e.options, e.compat}) add(out, text);
  add(out, std::string(reinterpret_cast<const char*>(e.captured.data()), e.captured.size()));
}

inline void add(std::string& out, const FoundContainer& c) {
  for (const std::uint64_t v : {c.offset, c.size, c.zeros_before, c.first_nonzero_after}) add(out, v);
  for (const Entry& e : c.entries) add(out, e);
  out += '\n';
}

// Every field of a report, so that two reports are equal exactly when their texts are.
inline std::string describe(const Report& r) {
  std::string out;
  for (const unsigned v : {unsigned(r.format), unsigned(r.machine), unsigned(r.elf_type)}) add(out, v);
  for (const ContainerInfo& c : r.containers) {
    add(out, unsigned(c.role));
    add(out, c.section);
    add(out, c.found);
  }
  for (const GroupInfo& g : r.groups) {
    out += "group ";
    for (const auto* list : {&g.members, &g.stored, &g.decoded}) {
      for (const std::uint64_t v : *list) add(out, v);
    }
  }
  for (const WrapperInfo& w : r.wrappers) {
    for (const std::uint64_t v : {w.offset, std::uint64_t{w.version}, std::uint64_t(w.how), w.target, std::uint64_t{w.container}}) add(out, v);
  }
  for (const LooseInfo& l : r.loose) {
    for (const std::uint64_t v : {std::uint64_t{l.kind}, std::uint64_t{l.arch}, std::uint64_t(l.feature), l.offset, l.size, std::uint64_t{l.major}, std::uint64_t{l.minor}}) add(out, v);
    add(out, l.section);
  }
  for (const UnknownRange& u : r.unknown) {
    add(out, u.offset);
    add(out, u.size);
    add(out, u.section);
  }
  for (const std::string& n : r.needed) add(out, n);
  add(out, r.soname);
  if (r.glibc) add(out, r.glibc->first * 1000ull + r.glibc->second);
  return out;
}

inline std::string describe(const ParseError& e) { return std::string("error: ") + e.what() + " at " + std::to_string(e.offset()); }

// The text of the report, or of the error, of reading `file` as one mapping.
inline std::string read_mapped(Bytes file, const std::string& name, Report* keep = nullptr) {
  try {
    Report report = Scan::of_mapping(file, name, [](Bytes) {});
    std::string text = describe(report);
    if (keep != nullptr) *keep = std::move(report);
    return text;
  } catch (const ParseError& e) {
    return describe(e);
  }
}

// The same from a stream cut into chunks, with ranges fetched when asked for.
inline std::string read_streamed(Bytes file, const std::string& name, unsigned seed) {
  try {
    Scan scan(file.size(), name);
    for_each_chunk(file.size(), seed, [&](std::size_t at, std::size_t length) { scan.feed(file.subspan(at, length)); });
    scan.end();
    std::optional<Range> before;
    while (const auto wanted = scan.resolve()) {
      check(inside(wanted->offset, wanted->size, file.size()), "a range outside the file is asked for");
      check(!before || before->offset != wanted->offset || before->size != wanted->size, "a range is asked for twice");
      scan.supply(wanted->offset, file.subspan(wanted->offset, wanted->size));
      before = wanted;
    }
    return describe(scan.take());
  } catch (const ParseError& e) {
    return describe(e);
  }
}

// What holds for the entries of any container: they follow each other without gap, from the header to the end.
inline void check_container(const FoundContainer& c, Bytes file) {
  check(inside(c.offset, c.size, file.size()), "container inside the file");
  std::uint64_t at = c.offset + kContainerHeaderSize;
  for (std::size_t i = 0; i < c.entries.size(); ++i) {
    const Entry& e = c.entries[i];
    const bool same_group = e.grouped && i > 0 && c.entries[i - 1].offset == e.offset;
    if (!same_group) {
      // A group without members leaves no entry behind, so `at` may have moved past it.
      check(e.offset >= at, "entries ascend");
      at = e.payload_offset() + e.payload_size;
    }
    check(at <= c.offset + c.size, "entry inside its container");
    check(e.captured.empty() || e.captured.size() == e.payload_size, "captured payloads are whole");
    check(e.name.size() + 1 <= e.header_size && e.options.size() <= e.header_size, "texts inside the header");
  }
  for (std::uint64_t i = c.zeros_before; i < c.offset; ++i) check(file[i] == std::byte{0}, "zeros before a container");
  for (std::uint64_t i = c.offset + c.size; i < c.first_nonzero_after; ++i) check(file[i] == std::byte{0}, "zeros after");
}

}  // namespace shim::fuzz
