#include "scan.hpp"

#include <algorithm>

#include "archive.hpp"

namespace shim {

namespace {

constexpr std::size_t kHead = 64 << 10;             // bytes that settle the format and show the program headers
constexpr std::uint64_t kElfHeadKeep = 12u << 20;   // holds .rela.dyn, .dynstr and version needs of all but the largest
constexpr std::uint64_t kElfTailKeep = 10u << 20;   // holds section names, also behind a large symbol table
constexpr std::uint64_t kElfPartKeep = 16u << 20;   // section headers; all writable data together
constexpr std::uint64_t kWholeFileKeep = 256u << 20;  // a stand-alone cubin or PTX file
constexpr std::size_t kSlice = 32u << 20;

std::string_view as_text(Bytes bytes) {
  const auto* start = reinterpret_cast<const char*>(bytes.data());  // bytes to characters, no integer is formed
  return {start, bytes.size()};
}

Format sniff(Bytes head, const std::string& name) {
  if (is_cubin(head)) return Format::kCubin;
  if (name.ends_with(".cubin")) throw ParseError("cubin file: expected an ELF header with e_machine 190", 0);
  if (head.size() >= 4 && as_text(head).starts_with("\x7f" "ELF")) return Format::kElf;
  if (as_text(head).starts_with(kArchiveMagic)) return Format::kArchive;
  if (head.size() >= 4 && load<std::uint32_t>(head.data()) == kContainerMagic) return Format::kFatbin;
  if (name.ends_with(".ltoir")) return Format::kLtoIr;
  if (is_ptx(as_text(head))) return Format::kPtx;
  if (name.ends_with(".ptx")) throw ParseError("PTX file: expected .version and .target at its start", 0);
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
  if (search.containers.empty() || search.containers.front().offset != 0) {
    throw ParseError("fatbin file: ends inside the 16-byte header of its container", 0);
  }
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

}  // namespace

Scan::Scan(std::uint64_t size, std::string name) : name_(std::move(name)), search_(size), windows_(size) {}

Scan::Scan(std::uint64_t size, const Budget& budget, Bytes mapping)
    : search_(size, budget), windows_(mapping.empty() ? Windows(size) : Windows::whole(mapping)), mapping_(mapping), member_(true) {}

Scan::~Scan() = default;

void Scan::feed(Bytes chunk) {
  if (!begun_) {
    const std::size_t take = std::min(chunk.size(), kHead - head_.size());
    head_.insert(head_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(take));
    chunk = chunk.subspan(take);
    if (head_.size() < kHead && head_.size() < search_.file_size()) return;
    begin();
  }
  if (archive_ != nullptr) {
    archive_->feed(chunk);
  } else {
    search_.feed(chunk);
  }
}

void Scan::begin() {
  begun_ = true;
  report_.format = sniff(head_, name_);
  if (member_ && report_.format == Format::kArchive) report_.format = Format::kNone;
  switch (report_.format) {
    case Format::kArchive:
      archive_ = std::make_unique<Archive>(search_.file_size(), mapping_);
      archive_->feed(head_);
      return;
    case Format::kElf:
      if (mapping_.empty()) keep_elf_ranges();
      break;
    case Format::kFatbin:
      break;
    case Format::kCubin:
    case Format::kPtx:
      if (search_.file_size() > kWholeFileKeep) {
        throw ParseError("stand-alone image of " + std::to_string(search_.file_size()) + " bytes; at most " +
                             std::to_string(kWholeFileKeep) + " are read",
                         0);
      }
      if (mapping_.empty()) taps_.push_back(search_.tap(0, search_.file_size()));
      search_.only_taps();
      break;
    case Format::kNone:
    case Format::kLtoIr:
      search_.only_taps();
  }
  search_.feed(head_);
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
  if (archive_ != nullptr) {
    archive_->end();
    return;
  }
  search_.finish();
  for (Tap* t : taps_) {
    if (t != nullptr && t->complete()) windows_.add(t->offset, std::move(t->data));
  }
  taps_.clear();
}

std::optional<Range> Scan::resolve() {
  if (archive_ != nullptr) {
    const auto wanted = archive_->resolve();
    if (!wanted) {
      report_ = std::move(archive_->report);
      report_.format = Format::kArchive;
      archive_.reset();
    }
    return wanted;
  }
  try {
    assemble();
    return std::nullopt;
  } catch (const MissingRange& missing) {
    return Range{missing.offset, missing.size};
  }
}

void Scan::supply(std::uint64_t offset, Bytes data) {
  if (archive_ != nullptr) {
    archive_->supply(offset, data);
  } else {
    windows_.add(offset, data);
  }
}

void Scan::forget() {
  if (mapping_.empty()) windows_ = Windows(search_.file_size());
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
    case Format::kCubin:
    case Format::kPtx:
    case Format::kLtoIr:
      finish_plain(report_.format, windows_, report_);
      break;
    case Format::kNone:
    case Format::kArchive:
      break;
  }
}

Report Scan::take() {
  report_.groups = group_containers(report_.containers);
  return std::move(report_);
}

Report Scan::of_mapping(Bytes file, std::string name, void (*drop)(Bytes)) {
  Scan scan(file.size(), std::move(name));
  scan.windows_ = Windows::whole(file);
  scan.mapping_ = file;
  for (std::size_t at = 0; at < file.size(); at += kSlice) {
    const Bytes slice = file.subspan(at, std::min(kSlice, file.size() - at));
    scan.feed(slice);
    drop(slice);
  }
  scan.end();
  scan.resolve();  // everything is at hand
  return scan.take();
}

}  // namespace shim
