// One front-to-back pass over a file that arrives in pieces: finds fatbin containers (wherever they stand), wrapper
// records, bare cubins and PTX text. Payloads of images are skipped, not read, so that over a mapping they cost nothing.
// Memory is bounded: an entry header at most, the taps asked for, small payloads the verdict needs, and a fixed budget for
// the list of what was found. Everything found depends on the bytes only, never on how they were cut into pieces.
#pragma once

#include <list>

#include "fatbin.hpp"

namespace shim {

// Keeps a copy of one range of the file as it streams by.
struct Tap {
  std::uint64_t offset;
  std::uint64_t size;
  std::vector<std::byte> data;
  bool complete() const { return data.size() == size; }
};

struct FoundContainer {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;             // with the 16-byte header
  std::vector<Entry> entries;
  std::uint64_t zeros_before = 0;     // start of the run of zero bytes that ends at `offset`
  std::uint64_t first_nonzero_after;  // first byte after the container that is not zero (or the next container)
};

// Looked like a container, but its chain of entries does not add up.
struct BrokenContainer {
  std::uint64_t offset;
  std::uint64_t at;
  std::string what;
};

struct FoundWrapper {
  std::uint64_t offset;
  std::uint32_t version;
  std::uint64_t data;    // as stored in the file; a relocation may override it
  std::uint64_t second;
};

struct FoundCubin {
  std::uint64_t offset;
  std::uint64_t size;
  const Tap* bytes;  // null when too large to keep
};

struct FoundPtx {
  std::uint64_t offset;  // of the ".version" directive
  unsigned major, minor, arch;
  char feature;  // 'a', 'f' or 0
};

// Memory that one file may claim, in bytes. The members of an archive share one budget.
struct Budget {
  std::uint64_t kept = 32u << 20;    // small payloads and bare cubins; what comes later is not kept
  std::uint64_t found = 256u << 20;  // lists of things found (cuFFT 12.3's 22,974 containers take 35 MB); then a ParseError
};

class Search {
 public:
  explicit Search(std::uint64_t file_size, Budget budget = {}) : file_size_(file_size), budget_(budget) {}

  void feed(Bytes chunk);  // the next bytes of the file; ParseError when more is found than the budget holds
  void finish();           // after the last byte; ParseError when fewer bytes came than promised

  // From now on nothing is looked for: taps are filled, bytes are counted. Before the first feed().
  void only_taps() { searching_ = false; }

  // Keep [offset, offset+size) if it has not streamed by yet. The pointer stays valid as long as the Search.
  Tap* tap(std::uint64_t offset, std::uint64_t size);

  std::uint64_t position() const { return fed_; }
  std::uint64_t file_size() const { return file_size_; }
  const Budget& budget() const { return budget_; }  // what is left of it

  std::vector<FoundContainer> containers;
  std::vector<BrokenContainer> broken;
  std::vector<FoundWrapper> wrappers;
  std::vector<FoundCubin> cubins;
  std::vector<FoundPtx> texts;

 private:
  std::size_t consume(Bytes window, bool last);
  std::size_t search(Bytes window, std::size_t from, bool last);
  bool start_container(Bytes window, std::size_t at);
  bool read_entry(Bytes window, std::size_t& at, bool last);
  void end_container();
  void break_container(const ParseError& error);
  void note_cubin(Bytes window, std::size_t at);
  void note_texts(Bytes window, std::size_t from, std::size_t to);
  void track_zeros(Bytes window, std::size_t from, std::size_t to);
  Tap* add_tap(std::uint64_t offset, std::uint64_t size);
  void fill_taps(std::uint64_t offset, Bytes chunk);
  bool keep(std::uint64_t bytes);
  void charge(std::uint64_t bytes, std::uint64_t offset);

  enum class State { kSearch, kEntry };

  std::uint64_t file_size_;
  std::uint64_t fed_ = 0;   // bytes given to feed()
  std::uint64_t base_ = 0;  // file offset of the first byte of the current window
  std::uint64_t skip_ = 0;  // payload bytes still to pass over
  std::vector<std::byte> carry_;
  bool searching_ = true;
  State state_ = State::kSearch;
  FoundContainer current_;
  std::uint64_t current_end_ = 0;
  std::uint64_t zero_run_ = 0;        // start of the zero bytes that end at the current search position
  bool awaiting_nonzero_ = false;     // the last container still wants its first_nonzero_after
  bool capture_ = false;              // the payload being passed over is kept
  Budget budget_;
  std::list<Tap> taps_;
  std::vector<Tap*> open_;            // taps that still want bytes
};

}  // namespace shim
