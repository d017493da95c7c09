#include "scan.hpp"

#include <algorithm>

namespace shim {

namespace {

constexpr std::size_t kHead = 64 << 10;             // bytes that settle the format and show the program headers
constexpr std::uint64_t kElfHeadKeep = 12u << 20;   // holds .rela.dyn, .dynstr and version needs of all but the largest
constexpr std::uint64_t kElfTailKeep = 10u << 20;   // holds section names, also behind a large symbol table
constexpr std::uint64_t kElfPartKeep = 16u << 20;   // section headers; all writable data together
constexpr std::uint64_t kWholeFileKeep = 256u << 20;  // a stand-alone cubin or PTX file
constexpr std::size_t kSlice = 32u << 20;
constexpr std::string_view kArchiveMagic = "!<arch>\n";
constexpr std::size_t kMemberHeader = 60;

std::string_view as_text(Bytes bytes) {
  const auto* start = reinterpret_cast<const char*>(bytes.data());  // bytes to characters, no integer is formed
  return {start, bytes.size()};
}

bool starts_as_ptx(std::string_view text) {
  try {
    parse_ptx(text.substr(0, std::min<std::size_t>(text.size(), kHead)));
    return true;
  } catch (const ParseError&) {
    return false;
  }
}

Format sniff(Bytes head, const std::string& name) {
  if (is_cubin(head)) return Format::kCubin;
  if (head.size() >= 4 && as_text(head).starts_with("\x7f" "ELF")) return Format::kElf;
  if (as_text(head).starts_with(kArchiveMagic)) return Format::kArchive;
  if (head.size() >= 4 && load<std::uint32_t>(head.data()) == kContainerMagic) return Format::kFatbin;
  if (name.ends_with(".ltoir")) return Format::kLtoIr;
  if (starts_as_ptx(as_text(head))) return Format::kPtx;
  if (name.ends_with(".ptx")) throw ParseError("PTX file: expected .version and .target at its start", 0);
  if (name.ends_with(".cubin")) throw ParseError("cubin file: expected an ELF header with e_machine 190", 0);
  if (name.ends_with(".fatbin")) throw ParseError("fatbin file: expected magic 0xba55ed50", 0);
  return Format::kNone;
}

LooseInfo loose_cubin(std::uint64_t offset, std::uint64_t size, Bytes bytes) {
  const Cubin cubin = parse_cubin(bytes);
  return {kCubin, cubin.arch, cubin.feature, offset, size, "", 1, cubin.abi};
}

void finish_plain(Format format, const Windows& file, Report& report) {
  const std::uint64_t size = file.file_size();
  if (format == Format::kCubin) report.loose.push_back(loose_cubin(0, size, file.view(0, size, "cubin file")));
  if (format == Format::kPtx) {
    const PtxModule m = parse_ptx(as_text(file.view(0, size, "PTX file")));
    report.loose.push_back({kPtx, m.arch, m.feature, 0, size, "", m.major, m.minor});
  }
  if (format == Format::kLtoIr) report.loose.push_back({kLtoIr, 0, 0, 0, size, "", 0, 0});
}

void finish_fatbin(const Search& search, Report& report) {
  if (!search.broken.empty()) throw ParseError(search.broken.front().what, search.broken.front().at);
  std::uint64_t from = 0;
  for (const FoundContainer& c : search.containers) {
    if (const std::uint64_t zeros = std::min(c.zeros_before, c.offset); from < zeros) {
      report.unknown.push_back({from, zeros - from, ""});
    }
    from = std::max(c.first_nonzero_after, c.offset + c.size);
    report.containers.push_back({c, Role::kFile, ""});
  }
  if (from < search.file_size()) report.unknown.push_back({from, search.file_size() - from, ""});
}

void note_loose(const Search& search, Report& report) {
  for (const FoundCubin& c : search.cubins) {
    if (c.bytes == nullptr || !c.bytes->complete()) {
      report.loose.push_back({kCubin, 0, 0, c.offset, c.size, "", 0, 0});
      continue;
    }
    try {
      report.loose.push_back(loose_cubin(c.offset, c.size, c.bytes->data));
    } catch (const ParseError&) {
      continue;  // looked like a cubin, but is not one
    }
  }
  for (const FoundPtx& t : search.texts) {
    report.loose.push_back({kPtx, t.arch, t.feature, t.offset, 0, "", t.major, t.minor});
  }
}

void shift(Report& from, std::uint64_t base, Report& into) {
  const std::size_t first = into.containers.size();
  for (ContainerInfo& c : from.containers) {
    c.found.offset += base;
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
  into.machine = from.machine != 0 ? from.machine : into.machine;
  into.elf_type = from.elf_type != 0 ? from.elf_type : into.elf_type;
}

}  // namespace

Scan::Scan(std::uint64_t size, std::string name) : name_(std::move(name)), search_(size), windows_(size) {}

void Scan::feed(Bytes chunk) {
  if (!begun_) {
    const std::size_t take = std::min(chunk.size(), kHead - head_.size());
    head_.insert(head_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(take));
    chunk = chunk.subspan(take);
    if (head_.size() < kHead && head_.size() < search_.file_size()) return;
    begin();
  }
  if (report_.format == Format::kArchive) {
    feed_archive(chunk);
  } else {
    search_.feed(chunk);
  }
}

void Scan::begin() {
  begun_ = true;
  report_.format = sniff(head_, name_);
  if (report_.format == Format::kElf) keep_elf_ranges();
  if (report_.format == Format::kCubin || report_.format == Format::kPtx) {
    if (search_.file_size() > kWholeFileKeep) {
      throw ParseError("stand-alone image of " + std::to_string(search_.file_size()) + " bytes; at most " +
                           std::to_string(kWholeFileKeep) + " are read",
                       0);
    }
    taps_.push_back(search_.tap(0, search_.file_size()));
  }
  if (report_.format == Format::kArchive) {
    feed_archive(head_);
  } else {
    search_.feed(head_);
  }
}

// Asks for the parts that resolve_elf() will want. All of it is a guess: what is missing is fetched later.
void Scan::keep_elf_ranges() {
  const std::uint64_t size = search_.file_size();
  const auto keep = [&](std::uint64_t offset, std::uint64_t length) {
    if (offset < size && length > 0) taps_.push_back(search_.tap(offset, std::min(length, size - offset)));
  };
  keep(0, kElfHeadKeep);
  if (size > kElfTailKeep) keep(size - kElfTailKeep, kElfTailKeep);
  if (head_.size() < 64) return;
  const Windows head = Windows::whole(head_);
  const auto phoff = head.at<std::uint64_t>(32, "ELF header");
  const auto shoff = head.at<std::uint64_t>(40, "ELF header");
  const auto phnum = head.at<std::uint16_t>(56, "ELF header");
  if (shoff < size && size - shoff <= kElfPartKeep) keep(shoff, size - shoff);
  std::uint64_t writable = 0;
  for (std::uint64_t i = 0; i < phnum && inside(phoff, (i + 1) * 56, head_.size()); ++i) {
    const std::byte* p = head_.data() + phoff + i * 56;
    const auto flags = load<std::uint32_t>(p + 4);
    const auto filesz = load<std::uint64_t>(p + 32);
    if (load<std::uint32_t>(p) != PT_LOAD || (flags & PF_W) == 0 || filesz > kElfPartKeep - writable) continue;
    writable += filesz;
    keep(load<std::uint64_t>(p + 8), filesz);
  }
}

void Scan::end() {
  if (!begun_) begin();
  if (report_.format == Format::kArchive) {
    if (member_left_ != 0 || !member_header_.empty()) {
      throw ParseError("ar archive: file ends inside a member", archive_at_);
    }
    return;
  }
  search_.finish();
  for (Tap* t : taps_) {
    if (t != nullptr && t->complete()) windows_.add(t->offset, std::move(t->data));
  }
  taps_.clear();
}

std::optional<Range> Scan::resolve() {
  for (Member& m : members_) {
    try {
      if (auto range = m.scan->resolve()) return Range{range->offset + m.base, range->size};
    } catch (const ParseError& e) {
      throw ParseError(e.what(), e.offset() + m.base);
    }
  }
  try {
    assemble();
    return std::nullopt;
  } catch (const MissingRange& missing) {
    return Range{missing.offset, missing.size};
  }
}

void Scan::supply(std::uint64_t offset, Bytes data) {
  for (Member& m : members_) {
    const std::uint64_t size = m.scan->search_.file_size();
    if (offset >= m.base && inside(offset - m.base, data.size(), size)) {
      m.scan->supply(offset - m.base, data);
      return;
    }
  }
  windows_.add(offset, data);
}

void Scan::assemble() {
  report_.loose.clear();
  switch (report_.format) {
    case Format::kElf:
      note_loose(search_, report_);
      resolve_elf(windows_, search_, report_);
      break;
    case Format::kFatbin:
      finish_fatbin(search_, report_);
      break;
    case Format::kArchive:
      for (Member& m : members_) {
        Report one = m.scan->take();
        shift(one, m.base, report_);
      }
      members_.clear();
      break;
    default:
      finish_plain(report_.format, windows_, report_);
  }
}

Report Scan::take() {
  report_.groups = group_containers(report_.containers);
  return std::move(report_);
}

void Scan::feed_archive(Bytes chunk) {
  while (!chunk.empty()) {
    if (archive_at_ < kArchiveMagic.size()) {
      const std::size_t take = std::min<std::size_t>(chunk.size(), kArchiveMagic.size() - archive_at_);
      archive_at_ += take;
      chunk = chunk.subspan(take);
    } else if (member_left_ > 0) {
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), member_left_));
      if (!members_.empty() && members_.back().base + members_.back().scan->search_.file_size() > archive_at_) {
        const std::uint64_t room = members_.back().base + members_.back().scan->search_.file_size() - archive_at_;
        members_.back().scan->feed(chunk.first(static_cast<std::size_t>(std::min<std::uint64_t>(take, room))));
      }
      member_left_ -= take;
      archive_at_ += take;
      chunk = chunk.subspan(take);
      if (member_left_ == 0) members_.back().scan->end();
    } else {
      const std::size_t take = std::min(chunk.size(), kMemberHeader - member_header_.size());
      member_header_.insert(member_header_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(take));
      archive_at_ += take;
      chunk = chunk.subspan(take);
      if (member_header_.size() == kMemberHeader) start_member();
    }
  }
}

// The 60-byte header of ar(5): name 16, date 12, ids 12, mode 8, size 10 (decimal), "`\n". Members start on even offsets.
void Scan::start_member() {
  const std::string_view header = as_text(member_header_);
  const std::string_view digits = header.substr(48, 10);
  std::uint64_t size = 0;
  for (const char c : digits.substr(0, digits.find_last_not_of(' ') + 1)) {
    if (c < '0' || c > '9') throw ParseError("ar archive: member size is not a number", archive_at_ - 12);
    size = size * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (header.substr(58, 2) != "`\n") throw ParseError("ar archive: member header does not end in \"`\\n\"", archive_at_ - 2);
  if (!inside(archive_at_, size, search_.file_size())) {
    throw ParseError("ar archive: member of " + std::to_string(size) + " bytes leaves the file", archive_at_ - 12);
  }
  member_header_.clear();
  member_left_ = size + (size % 2 != 0 && archive_at_ + size < search_.file_size() ? 1 : 0);
  if (!members_.empty() && members_.back().scan->report_.format == Format::kNone) members_.pop_back();
  members_.push_back({archive_at_, std::make_unique<Scan>(size, "")});
  if (member_left_ == 0) members_.back().scan->end();
}

Report Scan::of_mapping(Bytes file, std::string name, void (*drop)(Bytes)) {
  Scan scan(file.size(), std::move(name));
  scan.windows_ = Windows::whole(file);
  scan.head_.assign(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(std::min(file.size(), kHead)));
  scan.begun_ = true;
  scan.report_.format = sniff(scan.head_, scan.name_);
  for (std::size_t at = 0; at < file.size(); at += kSlice) {
    const Bytes slice = file.subspan(at, std::min(kSlice, file.size() - at));
    if (scan.report_.format == Format::kArchive) {
      scan.feed_archive(slice);
    } else {
      scan.search_.feed(slice);
    }
    drop(slice);
  }
  scan.end();
  for (auto range = scan.resolve(); range; range = scan.resolve()) {
    scan.supply(range->offset, file.subspan(range->offset, range->size));
  }
  return scan.take();
}

}  // namespace shim
