// The only place that turns file bytes into integers. Every offset, count and size in a file is an attacker's number:
// it is checked here, then sliced. All formats read by shim are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace shim {

using Bytes = std::span<const std::byte>;

// The file is not what it claims to be. `offset` is a byte position in the file (or archive member) that was read.
class ParseError : public std::runtime_error {
 public:
  ParseError(const std::string& what, std::uint64_t offset) : std::runtime_error(what), offset_(offset) {}
  std::uint64_t offset() const noexcept { return offset_; }

 private:
  std::uint64_t offset_;
};

// A reader asked for bytes that are not held in memory (see Windows). Not an error of the file: the caller fetches the
// range and asks again.
class MissingRange : public std::exception {
 public:
  MissingRange(std::uint64_t range_offset, std::uint64_t range_size) : offset(range_offset), size(range_size) {}
  const char* what() const noexcept override { return "byte range not held in memory"; }
  std::uint64_t offset;
  std::uint64_t size;
};

template <class T>
  requires std::is_trivially_copyable_v<T>
T load(const std::byte* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof value);  // fields need not be aligned
  return value;
}

// a + b, or ParseError when it does not fit 64 bits.
inline std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t where) {
  if (b > UINT64_MAX - a) throw ParseError("offset and size overflow 64 bits", where);
  return a + b;
}

inline std::uint64_t checked_mul(std::uint64_t a, std::uint64_t b, std::uint64_t where) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) throw ParseError("count and size overflow 64 bits", where);
  return product;
}

// Overflow-proof: does [offset, offset+size) lie inside [0, total)?
inline bool inside(std::uint64_t offset, std::uint64_t size, std::uint64_t total) noexcept {
  return offset <= total && size <= total - offset;
}

inline std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment, std::uint64_t where) {
  return checked_add(value, alignment - 1, where) / alignment * alignment;
}

// Random access to a file of known size of which all (a mapping) or only some ranges (a stream) are in memory.
class Windows {
 public:
  explicit Windows(std::uint64_t file_size) : file_size_(file_size) {}
  static Windows whole(Bytes file) {
    Windows w(file.size());
    w.whole_ = file;
    w.mapped_ = true;
    return w;
  }

  std::uint64_t file_size() const noexcept { return file_size_; }

  // Keep `data`, which stands at `offset` in the file.
  void add(std::uint64_t offset, std::vector<std::byte> data) { held_.push_back({offset, std::move(data)}); }
  void add(std::uint64_t offset, Bytes data) { add(offset, std::vector<std::byte>(data.begin(), data.end())); }

  // Throws ParseError when the range leaves the file (`what` names the thing read), MissingRange when it is not held.
  Bytes view(std::uint64_t offset, std::uint64_t size, const char* what) const {
    if (!inside(offset, size, file_size_)) {
      throw ParseError(std::string(what) + ": " + std::to_string(size) + " bytes at offset " + std::to_string(offset) +
                           " leave the file of " + std::to_string(file_size_) + " bytes",
                       offset);
    }
    if (mapped_) return whole_.subspan(offset, size);
    for (const Held& h : held_) {
      if (offset >= h.offset && inside(offset - h.offset, size, h.data.size()))
        return Bytes(h.data).subspan(offset - h.offset, size);
    }
    throw MissingRange(offset, size);
  }

  template <class T>
  T at(std::uint64_t offset, const char* what) const {
    return load<T>(view(offset, sizeof(T), what).data());
  }

 private:
  struct Held {
    std::uint64_t offset;
    std::vector<std::byte> data;
  };
  std::uint64_t file_size_;
  Bytes whole_;
  bool mapped_ = false;
  std::vector<Held> held_;
};

}  // namespace shim
