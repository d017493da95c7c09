#include "search.hpp"

#include "cubin.hpp"

#include <algorithm>
#include <optional>

namespace shim {

namespace {

constexpr std::size_t kLook = 192;              // bytes from a candidate on that settle what it is
constexpr std::size_t kRefill = 2 * kEntryHeaderLimit;
// What one thing found costs in memory, in all: here, in the report, and as a Python object. Rounded up.
constexpr std::uint64_t kContainerCost = 512;
constexpr std::uint64_t kEntryCost = 1024;
constexpr std::uint64_t kTextCost = 3;  // a byte of name, options or .nv.compat
constexpr std::uint64_t kWrapperCost = 256;
constexpr std::uint64_t kBrokenCost = 512;
constexpr std::uint64_t kLooseCost = 512;
constexpr std::uint64_t kCubinKeep = 4u << 20;
constexpr std::uint64_t kSmallCubin = 4096;     // could be a cubin without any kernel
constexpr std::uint64_t kSmallPtx = 512;        // could be a module without any .entry
constexpr std::uint32_t kElfMagic = 0x464C457F;
constexpr std::uint64_t kCubinIdentOld = 0x3301010200000000;  // 64-bit, little-endian, OSABI 0x33
constexpr std::uint64_t kCubinIdentNew = 0x4101010200000000;  // OSABI 0x41

// The first 8-byte aligned place (by file offset) in [from, to) that starts with one of the three magics.
std::size_t next_magic(Bytes window, std::uint64_t base, std::size_t from, std::size_t to) {
  std::size_t at = from + static_cast<std::size_t>((8 - (base + from) % 8) % 8);
  const auto hit = [](std::uint32_t word) {
    return word == kContainerMagic || word == kWrapperMagic || word == kElfMagic;
  };
  // Eight candidates at a time, so that the compiler can compare them side by side.
  for (; at + 64 <= to; at += 64) {
    unsigned any = 0;
    for (std::size_t i = 0; i < 64; i += 8) {
      const auto word = load<std::uint32_t>(window.data() + at + i);
      any |= static_cast<unsigned>(word == kContainerMagic) | static_cast<unsigned>(word == kWrapperMagic) |
             static_cast<unsigned>(word == kElfMagic);
    }
    if (any != 0) break;
  }
  for (; at < to; at += 8) {
    if (at + 4 <= window.size() && hit(load<std::uint32_t>(window.data() + at))) return at;
  }
  return to;
}

// "small" images are kept whole: whether they define a kernel decides how they count.
bool worth_keeping(const Entry& e) {
  if (e.grouped) return false;
  if (e.kind == kPtx) return e.payload_size <= kSmallPtx;
  return e.kind == kCubin && e.payload_size <= kSmallCubin;
}

unsigned digits(std::string_view text, std::size_t& at, std::size_t limit) {
  unsigned value = 0;
  const std::size_t stop = std::min(text.size(), at + limit);
  for (; at < stop && text[at] >= '0' && text[at] <= '9'; ++at) value = value * 10 + static_cast<unsigned>(text[at] - '0');
  return value;
}

// ".version 8.0 ... .target sm_80": the two directives every PTX module starts with (PTX ISA, "PTX Module Directives").
std::optional<FoundPtx> parse_ptx_start(std::string_view text, std::uint64_t offset) {
  constexpr std::string_view version = ".version ";
  constexpr std::string_view target = ".target sm_";
  if (!text.starts_with(version)) return std::nullopt;
  std::size_t at = version.size();
  FoundPtx found{offset, 0, 0, 0, 0};
  std::size_t before = at;
  found.major = digits(text, at, 2);
  if (at == before || at >= text.size() || text[at] != '.') return std::nullopt;
  before = ++at;
  found.minor = digits(text, at, 2);
  if (at == before) return std::nullopt;
  const std::size_t t = text.find(target, at);
  if (t == std::string_view::npos) return std::nullopt;
  at = t + target.size();
  before = at;
  found.arch = digits(text, at, 3);
  if (at - before < 2) return std::nullopt;
  if (at < text.size() && (text[at] == 'a' || text[at] == 'f')) found.feature = text[at];
  return found;
}

}  // namespace

Tap* Search::tap(std::uint64_t offset, std::uint64_t size) {
  if (offset < fed_ || !inside(offset, size, file_size_)) return nullptr;
  return add_tap(offset, size);
}

Tap* Search::add_tap(std::uint64_t offset, std::uint64_t size) {
  taps_.push_back({offset, size, {}});
  if (size > 0) open_.push_back(&taps_.back());
  return &taps_.back();
}

void Search::fill_taps(std::uint64_t offset, Bytes chunk) {
  std::erase_if(open_, [&](Tap* t) {
    const std::uint64_t next = t->offset + t->data.size();
    if (next < offset || next >= offset + chunk.size()) return false;
    const Bytes rest = chunk.subspan(static_cast<std::size_t>(next - offset));
    if (t->data.empty()) t->data.reserve(static_cast<std::size_t>(t->size));
    const std::size_t take = static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), t->size - t->data.size()));
    t->data.insert(t->data.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(take));
    return t->complete();
  });
}

bool Search::keep(std::uint64_t bytes) {
  if (bytes > budget_.kept) return false;
  budget_.kept -= bytes;
  return true;
}

// Keeps a hostile file, such as two gigabytes of empty containers, from filling the memory with descriptions of itself.
void Search::charge(std::uint64_t bytes, std::uint64_t offset) {
  if (bytes > budget_.found) {
    throw ParseError("more containers, wrappers and images than the reader's " + std::to_string(Budget{}.found >> 20) +
                         " MiB can describe; no real library comes near",
                     offset);
  }
  budget_.found -= bytes;
}

void Search::feed(Bytes chunk) {
  if (chunk.size() > file_size_ - fed_) throw ParseError("more bytes than the file's stated size", file_size_);
  const Bytes whole = chunk;
  const std::uint64_t chunk_offset = fed_;
  fill_taps(chunk_offset, whole);
  if (!searching_) {
    fed_ += chunk.size();
    return;
  }
  if (!carry_.empty()) {
    const std::size_t old = carry_.size();
    const std::size_t take = std::min(chunk.size(), kRefill);
    carry_.insert(carry_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(take));
    base_ = fed_ - old;
    const std::size_t used = consume(carry_, false);
    if (used < old) {  // only when the chunk was too small to settle anything: all of it is in the carry
      carry_.erase(carry_.begin(), carry_.begin() + static_cast<std::ptrdiff_t>(used));
      fed_ += chunk.size();
      return;
    }
    chunk = chunk.subspan(used - old);
    fed_ += used - old;
    carry_.clear();
  }
  base_ = fed_;
  const std::size_t used = consume(chunk, false);
  carry_.assign(chunk.begin() + static_cast<std::ptrdiff_t>(used), chunk.end());
  fed_ += chunk.size();
  fill_taps(chunk_offset, whole);  // taps that were asked for while this chunk was read
}

void Search::finish() {
  if (fed_ != file_size_) {
    throw ParseError("file ends after " + std::to_string(fed_) + " bytes, expected " + std::to_string(file_size_), fed_);
  }
  base_ = fed_ - carry_.size();
  consume(carry_, true);
  if (state_ == State::kEntry) break_container(ParseError("fatbin container: file ends inside it", file_size_));
  if (awaiting_nonzero_) containers.back().first_nonzero_after = file_size_;
}

// Returns how many bytes of the window are dealt with; the caller offers the rest again, with more behind it.
std::size_t Search::consume(Bytes window, bool last) {
  std::size_t at = 0;
  for (;;) {
    if (skip_ > 0) {
      const std::size_t take = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, window.size() - at));
      if (capture_) {
        const Bytes part = window.subspan(at, take);
        auto& captured = current_.entries.back().captured;
        captured.insert(captured.end(), part.begin(), part.end());
      }
      skip_ -= take;
      at += take;
      if (skip_ > 0) return at;
    }
    if (state_ == State::kEntry) {
      if (base_ + at == current_end_) {
        end_container();
        zero_run_ = base_ + at;
      } else if (!read_entry(window, at, last)) {
        return at;
      }
      continue;
    }
    const std::size_t stop = search(window, at, last);
    if (state_ == State::kSearch) return stop;
    at = stop;
  }
}

// Looks for the next container from `from` on. Leaves the state at kEntry when it found one; returns where it stands then.
std::size_t Search::search(Bytes window, std::size_t from, bool last) {
  const std::size_t to = last ? window.size() : (window.size() > from + kLook ? window.size() - kLook : from);
  std::size_t at = from;
  while (at < to) {
    const std::size_t hit = next_magic(window, base_, at, to);
    note_texts(window, at, hit);
    track_zeros(window, at, hit);
    if (hit == to) return to;
    const auto magic = load<std::uint32_t>(window.data() + hit);
    if (magic == kContainerMagic && start_container(window, hit)) return hit + kContainerHeaderSize;
    if (magic == kWrapperMagic && window.size() - hit >= kWrapperSize) {
      const auto version = load<std::uint32_t>(window.data() + hit + 4);
      if (version == 1 || version == 2) {
        charge(kWrapperCost, base_ + hit);
        wrappers.push_back({base_ + hit, version, load<std::uint64_t>(window.data() + hit + 8),
                            load<std::uint64_t>(window.data() + hit + 16)});
      }
    }
    if (magic == kElfMagic) note_cubin(window, hit);
    const std::size_t next = std::min(hit + 8, window.size());
    track_zeros(window, hit, next);
    at = next;
  }
  return at;
}

bool Search::start_container(Bytes window, std::size_t at) {
  const std::uint64_t offset = base_ + at;
  if (window.size() - at < kContainerHeaderSize) return false;
  try {
    const ContainerHeader header = parse_container_header(window.subspan(at), offset);
    if (!inside(offset + kContainerHeaderSize, header.body_size, file_size_)) {
      throw ParseError("fatbin container: body of " + std::to_string(header.body_size) + " bytes leaves the file of " +
                           std::to_string(file_size_) + " bytes",
                       offset);
    }
    current_ = {};
    current_.offset = offset;
    current_.size = kContainerHeaderSize + header.body_size;
    current_.zeros_before = zero_run_;
    current_end_ = offset + current_.size;
    state_ = State::kEntry;
    if (awaiting_nonzero_) {
      containers.back().first_nonzero_after = offset;
      awaiting_nonzero_ = false;
    }
    return true;
  } catch (const ParseError& error) {
    broken.push_back({offset, error.offset(), error.what()});
  }
  charge(kBrokenCost, offset);
  return false;
}

// Reads the entry header at `at`. False when the window ends inside it and more bytes may come.
bool Search::read_entry(Bytes window, std::size_t& at, bool last) {
  const std::uint64_t offset = base_ + at;
  const std::uint64_t room = current_end_ - offset;
  const std::size_t have = window.size() - at;
  try {
    if (have < std::min<std::uint64_t>(kEntryFixedSize, room)) {
      if (!last) return false;
      throw ParseError("fatbin entry: file ends inside its header", offset);
    }
    const Bytes rest = window.subspan(at);
    Entry entry = parse_entry_header(rest, offset, room);
    if (have < entry.header_size) {
      if (!last) return false;
      throw ParseError("fatbin entry: file ends inside its header", offset);
    }
    const Bytes header = rest.first(entry.header_size);
    parse_entry_tail(entry, header);
    std::vector<Entry> members;
    if (entry.kind == kGroup) members = parse_group(entry, header);
    skip_ = entry.payload_size;
    at += entry.header_size;
    capture_ = worth_keeping(entry) && keep(entry.payload_size);
    if (entry.kind != kGroup) members.push_back(std::move(entry));
    for (Entry& member : members) current_.entries.push_back(std::move(member));
  } catch (const ParseError& error) {
    break_container(error);
  }
  if (state_ == State::kEntry) {
    for (auto e = current_.entries.rbegin(); e != current_.entries.rend() && e->offset == offset; ++e) {
      charge(kEntryCost + kTextCost * (e->name.size() + e->options.size() + e->compat.size()), offset);
    }
  }
  return true;
}

void Search::end_container() {
  charge(kContainerCost, current_.offset);
  state_ = State::kSearch;
  current_.first_nonzero_after = file_size_;
  containers.push_back(std::move(current_));
  current_ = {};
  awaiting_nonzero_ = true;
}

// The search goes on behind the last entry that made sense: a lying header hides nothing.
void Search::break_container(const ParseError& error) {
  broken.push_back({current_.offset, error.offset(), error.what()});
  charge(kBrokenCost, current_.offset);
  state_ = State::kSearch;
  current_ = {};
  skip_ = 0;
  zero_run_ = error.offset();
}

void Search::note_cubin(Bytes window, std::size_t at) {
  const Bytes rest = window.subspan(at);
  if (rest.size() < 64) return;
  const std::uint64_t ident = load<std::uint64_t>(rest.data()) & 0xFFFFFFFF00000000;
  if ((ident != kCubinIdentOld && ident != kCubinIdentNew) || load<std::uint16_t>(rest.data() + 18) != kMachineCuda) return;
  const std::uint64_t shoff = load<std::uint64_t>(rest.data() + 40);
  const std::uint64_t phoff = load<std::uint64_t>(rest.data() + 32);
  const std::uint64_t sections = std::uint64_t{load<std::uint16_t>(rest.data() + 58)} * load<std::uint16_t>(rest.data() + 60);
  const std::uint64_t segments = std::uint64_t{load<std::uint16_t>(rest.data() + 54)} * load<std::uint16_t>(rest.data() + 56);
  const std::uint64_t offset = base_ + at;
  const std::uint64_t left = file_size_ - offset;
  if (!inside(shoff, sections, left) || !inside(phoff, segments, left)) return;
  const std::uint64_t size = std::max({std::uint64_t{64}, shoff + sections, phoff + segments});
  FoundCubin found{offset, size, nullptr};
  charge(kLooseCost, offset);
  if (size <= kCubinKeep && keep(size)) {
    found.bytes = add_tap(offset, size);
    fill_taps(offset, rest);  // what is in sight now; feed() adds the rest
  }
  cubins.push_back(found);
}

void Search::note_texts(Bytes window, std::size_t from, std::size_t to) {
  if (from >= to) return;
  const auto* start = reinterpret_cast<const char*>(window.data());  // bytes to characters, no integer is formed
  const std::size_t end = std::min(to, window.size() >= 8 ? window.size() - 7 : 0);
  const auto check = [&](std::size_t i) {
    if (start[i] != '.' || start[i + 7] != 'n') return;
    const std::string_view text(start + i, std::min(window.size() - i, kLook - 8));
    if (const auto found = parse_ptx_start(text, base_ + i)) {
      charge(kLooseCost, base_ + i);
      texts.push_back(*found);
    }
  };
  // Filter on the first and the eighth byte of ".version". No branch in the inner loop, so that it vectorises.
  std::size_t block = from;
  for (; block + 64 <= end; block += 64) {
    unsigned char any = 0;
    for (std::size_t i = block; i < block + 64; ++i) {
      any |= static_cast<unsigned char>((start[i] == '.') & (start[i + 7] == 'n'));
    }
    if (any == 0) continue;
    for (std::size_t i = block; i < block + 64; ++i) check(i);
  }
  for (; block < end; ++block) check(block);
}

// Keeps zero_run_ and the last container's first_nonzero_after right over window[from, to).
void Search::track_zeros(Bytes window, std::size_t from, std::size_t to) {
  if (from >= to) return;
  const Bytes part = window.subspan(from, to - from);
  if (awaiting_nonzero_) {
    const auto nonzero = std::find_if(part.begin(), part.end(), [](std::byte b) { return b != std::byte{0}; });
    if (nonzero != part.end()) {
      containers.back().first_nonzero_after = base_ + from + static_cast<std::uint64_t>(nonzero - part.begin());
      awaiting_nonzero_ = false;
    }
  }
  std::size_t zeros = 0;
  while (zeros < part.size() && part[part.size() - 1 - zeros] == std::byte{0}) ++zeros;
  if (zeros < part.size()) zero_run_ = base_ + to - zeros;
}

}  // namespace shim
