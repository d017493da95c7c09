#include "entry.hpp"

#include <algorithm>
#include <charconv>
#include <concepts>
#include <stdexcept>
#include <string_view>

#include "cubin.hpp"

namespace shim {
namespace {

constexpr std::uint32_t kZstdMagic = 0xFD2FB528;
constexpr std::uint32_t kFirstDescribedArch = 100;  // cubins below sm_100 carry no copy of .nv.compat
constexpr std::uint16_t kEntryVersion = 0x0101;
constexpr std::uint64_t kFlag64Bit = 0x1;
constexpr std::uint64_t kFlagDebug = 0x2;
constexpr std::uint64_t kFlagLinux = 0x10;

std::size_t align8(std::size_t n) { return (n + 7) / 8 * 8; }

class Writer {
 public:
  template <std::integral T>
  void put(T value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    out_.insert(out_.end(), p, p + sizeof value);
  }
  void put(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void put(std::string_view text) { put(std::as_bytes(std::span(text))); }
  void pad8() { out_.resize(align8(out_.size())); }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

struct Version {
  std::uint16_t major = 0;
  std::uint16_t minor = 0;
};

// The first ".version X.Y" of a PTX text.
Version ptx_version(Bytes image) {
  const std::string_view text(reinterpret_cast<const char*>(image.data()), image.size());
  constexpr std::string_view word = ".version";
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos) throw ParseError("PTX text without a .version line", 0);
  std::size_t pos = at + word.size();
  while (pos < text.size() && (text[pos] == ' ' || text[pos] == '\t')) ++pos;
  const char* const end = text.data() + text.size();
  Version version;
  const auto [dot, error] = std::from_chars(text.data() + pos, end, version.major);
  if (error != std::errc{} || dot == end || *dot != '.') throw ParseError("PTX .version is not X.Y", at);
  const auto [rest, error2] = std::from_chars(dot + 1, end, version.minor);
  if (error2 != std::errc{}) throw ParseError("PTX .version is not X.Y", at);
  return version;
}

void check_spec(const EntrySpec& spec) {
  if (spec.kind != kPtx && spec.kind != kCubin)
    throw std::invalid_argument("entry: kind must be 1 (PTX) or 2 (cubin), not " + std::to_string(spec.kind));
  if (spec.arch == 0) throw std::invalid_argument("entry: architecture 0");
  if (spec.suffix != 0 && spec.suffix != 'a' && spec.suffix != 'f')
    throw std::invalid_argument("entry: suffix must be 'a', 'f' or none");
  if (spec.image.empty()) throw std::invalid_argument("entry: empty image");
  if (spec.compressed && (spec.compressed->size() < sizeof(kZstdMagic) ||
                          load<std::uint32_t>(spec.compressed->data()) != kZstdMagic))
    throw std::invalid_argument("entry: compressed bytes are no zstd frame");
  if (spec.kind == kCubin && !spec.options.empty())
    throw std::invalid_argument("entry: ptxas options belong to PTX entries");
  for (const std::string* text : {&spec.name, &spec.options})
    if (text->find('\0') != std::string::npos) throw std::invalid_argument("entry: NUL in name or options");
}

void check_cubin(const EntrySpec& spec, const Cubin& cubin) {
  if (cubin.arch != spec.arch)
    throw std::invalid_argument("entry: declared for sm_" + std::to_string(spec.arch) + ", but the cubin is for sm_" +
                                std::to_string(cubin.arch));
  if ((cubin.feature == 'a') != (spec.suffix == 'a'))
    throw std::invalid_argument(cubin.feature == 'a' ? "entry: the cubin is for an 'a' target, the entry is not"
                                                  : "entry: marked 'a', but the cubin is for no 'a' target");
}

void check_ptx(const EntrySpec& spec) {
  const auto nul = std::ranges::find(spec.image, std::byte{0});
  if (nul + 1 != spec.image.end() || nul == spec.image.end())
    throw std::invalid_argument("entry: PTX text must end with its one NUL");
}

struct Tail {
  std::uint32_t name_offset = 0;
  std::uint32_t descriptor_offset = 0;
  std::uint32_t header_size = 0;
  std::uint32_t text_length = 0;
};

// Name part: the name and its NUL. Descriptor part: offset and length of a text, then for PTX the text and its NUL, for
// a cubin the NUL of an empty text followed by the copy of .nv.compat. Both padded to 8.
Tail lay_out(const EntrySpec& spec, std::string_view compat) {
  Tail tail;
  std::size_t size = kEntryFixedSize;
  if (!spec.name.empty()) {
    tail.name_offset = static_cast<std::uint32_t>(size);
    size += align8(spec.name.size() + 1);
  }
  if (spec.kind == kPtx || !compat.empty()) {
    tail.descriptor_offset = static_cast<std::uint32_t>(size);
    const std::size_t text = spec.kind == kPtx ? spec.options.size() : compat.size();
    size += align8(8 + text + 1);
    tail.text_length = static_cast<std::uint32_t>(text);
  }
  if (size > UINT32_MAX) throw std::invalid_argument("entry: header larger than 4 GiB");
  tail.header_size = static_cast<std::uint32_t>(size);
  return tail;
}

std::uint64_t flags_of(const EntrySpec& spec, bool has_compat) {
  std::uint64_t flags = kFlag64Bit | kFlagLinux;
  if (spec.debug) flags |= kFlagDebug;
  if (spec.compressed) flags |= kFlagZstd;
  if (spec.suffix == 'a') flags |= kFlagArchSpecific;
  if (spec.suffix == 'f') flags |= kFlagFamilySpecific;
  if (has_compat) flags |= kFlagCompat;
  return flags;
}

}  // namespace

std::vector<std::byte> make_entry(const EntrySpec& spec) {
  check_spec(spec);
  Version version;
  std::string compat;
  if (spec.kind == kPtx) {
    check_ptx(spec);
    version = ptx_version(spec.image);
  } else {
    const Cubin cubin = parse_cubin(spec.image);
    check_cubin(spec, cubin);
    version = {1, cubin.abi >= 8 ? std::uint16_t{8} : std::uint16_t{7}};
    if (spec.arch >= kFirstDescribedArch) compat = cubin.compat;
  }
  const Bytes payload = spec.compressed.value_or(spec.image);
  const Tail tail = lay_out(spec, compat);
  Writer out;
  out.put(spec.kind);
  out.put(kEntryVersion);
  out.put(tail.header_size);
  out.put(std::uint64_t{align8(payload.size())});
  if (payload.size() > UINT32_MAX && spec.compressed)
    throw std::invalid_argument("entry: compressed image of 4 GiB or more");
  out.put(static_cast<std::uint32_t>(spec.compressed ? payload.size() : 0));
  out.put(tail.descriptor_offset);
  out.put(version.minor);
  out.put(version.major);
  out.put(spec.arch);
  out.put(tail.name_offset);
  out.put(static_cast<std::uint32_t>(spec.name.size()));
  out.put(flags_of(spec, !compat.empty()));
  out.put(std::uint64_t{0});
  out.put(std::uint64_t{spec.compressed ? spec.image.size() : 0});
  if (!spec.name.empty()) {
    out.put(std::string_view(spec.name));
    out.put(std::uint8_t{0});
    out.pad8();
  }
  if (tail.descriptor_offset != 0) {
    out.put(tail.descriptor_offset + 8);
    out.put(tail.text_length);
    if (spec.kind == kPtx) out.put(std::string_view(spec.options));
    out.put(std::uint8_t{0});
    out.put(std::string_view(compat));
    out.pad8();
  }
  out.put(payload);
  out.pad8();
  return out.take();
}

std::vector<std::byte> make_container_header(std::uint64_t entries_size) {
  Writer out;
  out.put(kContainerMagic);
  out.put(std::uint16_t{1});
  out.put(std::uint16_t{kContainerHeaderSize});
  out.put(entries_size);
  return out.take();
}

std::vector<std::byte> make_container(std::span<const Bytes> entries) {
  std::uint64_t total = 0;
  for (const Bytes entry : entries) {
    const Windows file = Windows::whole(entry);
    const std::uint64_t size = checked_add(file.at<std::uint32_t>(4, "entry header"),
                                           file.at<std::uint64_t>(8, "entry header"), 8);
    if (size != entry.size())
      throw ParseError("entry: header says " + std::to_string(size) + " bytes, given are " +
                           std::to_string(entry.size()),
                       4);
    total = checked_add(total, size, 8);
  }
  std::vector<std::byte> out = make_container_header(total);
  out.reserve(out.size() + total);
  for (const Bytes entry : entries) out.insert(out.end(), entry.begin(), entry.end());
  return out;
}

}  // namespace shim
