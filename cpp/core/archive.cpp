#include "archive.hpp"

#include <algorithm>

namespace shim {

namespace {

constexpr std::size_t kHeader = 60;
constexpr std::size_t kSizeField = 48;  // of the header: ten decimal digits
constexpr std::size_t kEndField = 58;

// Runs `step`, with offsets in its ParseErrors moved from the member to the archive.
template <class Step>
auto of_member(std::uint64_t base, Step step) {
  try {
    return step();
  } catch (const ParseError& e) {
    throw ParseError(e.what(), e.offset() + base);
  }
}


// Appends what a member at `base` has. The machine is that of the first ELF member.
void append(Report& from, std::uint64_t base, Report& into) {
  const std::size_t first = into.containers.size();
  for (ContainerInfo& c : from.containers) {
    c.found.offset += base;
    c.found.zeros_before += base;
    c.found.first_nonzero_after += base;
    for (Entry& e : c.found.entries) e.offset += base;
    into.containers.push_back(std::move(c));
  }
  for (WrapperInfo& w : from.wrappers) {
    w.offset += base;
    w.target += base;
    w.container += first;
    into.wrappers.push_back(w);
  }
  for (LooseInfo& l : from.loose) {
    l.offset += base;
    into.loose.push_back(std::move(l));
  }
  for (UnknownRange& u : from.unknown) {
    u.offset += base;
    into.unknown.push_back(std::move(u));
  }
  if (into.machine == 0) into.machine = from.machine;
  if (into.elf_type == 0) into.elf_type = from.elf_type;
}

}  // namespace

void Archive::feed(Bytes chunk) {
  if (chunk.size() > size_ - at_) throw ParseError("more bytes than the file's stated size", size_);
  while (!chunk.empty()) {
    std::size_t used = 0;
    if (at_ < kArchiveMagic.size()) {
      used = std::min<std::size_t>(chunk.size(), kArchiveMagic.size() - at_);
      at_ += used;
    } else if (reading_) {
      used = feed_member(chunk);
    } else if (padding_ > 0) {
      used = 1;
      --padding_;
      ++at_;
    } else {
      used = feed_header(chunk);
    }
    chunk = chunk.subspan(used);
  }
}

std::size_t Archive::feed_header(Bytes chunk) {
  const std::size_t take = std::min(chunk.size(), kHeader - header_.size());
  header_.insert(header_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(take));
  at_ += take;
  if (header_.size() == kHeader) start_member();
  return take;
}

std::size_t Archive::feed_member(Bytes chunk) {
  const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), left_));
  of_member(members_.back().base, [&] { members_.back().scan->feed(chunk.first(take)); });
  at_ += take;
  left_ -= take;
  if (left_ == 0) finish_member();
  return take;
}

// The 60-byte header of ar(5): name 16, date 12, ids 12, mode 8, size 10 (decimal), "`\n". Members start on even offsets.
void Archive::start_member() {
  const auto* start = reinterpret_cast<const char*>(header_.data());  // bytes to characters, no integer is formed
  const std::string_view header(start, kHeader);
  const std::string_view field = header.substr(kSizeField, kEndField - kSizeField);
  const std::string_view digits = field.substr(0, field.find_last_not_of(' ') + 1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
    throw ParseError("ar archive: member size is not a number", at_ - kHeader + kSizeField);
  }
  std::uint64_t size = 0;
  for (const char c : digits) size = size * 10 + static_cast<std::uint64_t>(c - '0');
  if (header.substr(kEndField) != "`\n") {
    throw ParseError("ar archive: member header does not end in \"`\\n\"", at_ - kHeader + kEndField);
  }
  if (!inside(at_, size, size_)) {
    throw ParseError("ar archive: member of " + std::to_string(size) + " bytes leaves the file of " +
                         std::to_string(size_) + " bytes",
                     at_ - kHeader + kSizeField);
  }
  header_.clear();
  const Bytes mapped = mapping_.empty() ? Bytes{} : mapping_.subspan(at_, size);
  members_.push_back({at_, size, std::make_unique<Scan>(size, budget_, mapped), {}});
  left_ = size;
  padding_ = size % 2 != 0 && at_ + size < size_ ? 1 : 0;
  reading_ = true;
  if (left_ == 0) finish_member();
}

// Most members need nothing more than what streamed by, so that only one is in memory at a time.
void Archive::finish_member() {
  reading_ = false;
  Member& member = members_.back();
  of_member(member.base, [&] { member.scan->end(); });
  std::optional<Range> wanted;
  budget_ = member.scan->budget();
  resolve_member(member, wanted);
  merge_done();
  if (members_.empty()) return;
  // One large member that waits for a range keeps its windows, any more of them are fetched again.
  if (members_.size() > 1 && members_.back().scan != nullptr) members_.back().scan->forget();
  if (sizeof(Member) > budget_.found) throw ParseError("ar archive: too many members", at_);
  budget_.found -= sizeof(Member);
}

bool Archive::resolve_member(Member& member, std::optional<Range>& wanted) {
  if (member.scan == nullptr) return true;
  wanted = of_member(member.base, [&] { return member.scan->resolve(); });
  if (wanted) {
    wanted->offset += member.base;
    return false;
  }
  member.report = member.scan->take();
  member.scan.reset();
  return true;
}

void Archive::merge_done() {
  while (!members_.empty() && members_.front().scan == nullptr) {
    append(members_.front().report, members_.front().base, report);
    members_.pop_front();
  }
}

void Archive::end() const {
  if (at_ != size_) {
    throw ParseError("file ends after " + std::to_string(at_) + " bytes, expected " + std::to_string(size_), at_);
  }
  if (reading_ || !header_.empty()) throw ParseError("ar archive: file ends inside a member", at_);
}

std::optional<Range> Archive::resolve() {
  for (Member& member : members_) {
    std::optional<Range> wanted;
    if (!resolve_member(member, wanted)) return wanted;
  }
  merge_done();
  return std::nullopt;
}

void Archive::supply(std::uint64_t offset, Bytes data) {
  for (Member& m : members_) {
    if (m.scan != nullptr && offset >= m.base && inside(offset - m.base, data.size(), m.size)) {
      m.scan->supply(offset - m.base, data);
      return;
    }
  }
}

}  // namespace shim
