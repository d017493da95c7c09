// ar(5) archives (.a): each member is read by a Scan of its own as it streams by, and let go when it is done.
#pragma once

#include <deque>

#include "scan.hpp"

namespace shim {

inline constexpr std::string_view kArchiveMagic = "!<arch>\n";

class Archive {
 public:
  // `mapping`: the whole archive when it is mapped, else empty.
  Archive(std::uint64_t size, Bytes mapping) : size_(size), mapping_(mapping) {}

  // As those of Scan. Offsets in ParseErrors and ranges are of the archive.
  void feed(Bytes chunk);
  void end() const;
  std::optional<Range> resolve();
  void supply(std::uint64_t offset, Bytes data);

  Report report;  // complete when resolve() returned nothing

 private:
  struct Member {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    std::unique_ptr<Scan> scan;  // null when done: `report` holds what it had
    Report report;
  };

  std::size_t feed_header(Bytes chunk);
  std::size_t feed_member(Bytes chunk);
  void start_member();
  void finish_member();
  bool resolve_member(Member& member, std::optional<Range>& wanted);
  void merge_done();

  std::uint64_t size_;
  Bytes mapping_;
  Budget budget_;               // what is left for the members to come
  std::deque<Member> members_;  // not yet in the report, in order; only the last one can still be read
  std::vector<std::byte> header_;
  std::uint64_t at_ = 0;
  std::uint64_t left_ = 0;     // bytes of the member still to come
  std::uint64_t padding_ = 0;  // bytes of the padding behind it still to come
  bool reading_ = false;
};

}  // namespace shim
