#include <algorithm>
#include <cctype>
#include <optional>

#include "cubin.hpp"

namespace shim {

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%' || c == '.'; }

// Blanks comments and string literals, so that braces and words in them do not count. Same length as the input.
std::string without_comments(std::string_view text) {
  std::string out(text);
  std::size_t i = 0;
  const auto blank_to = [&](std::size_t end) {
    for (; i < std::min(end, out.size()); ++i) {
      if (out[i] != '\n') out[i] = ' ';
    }
  };
  while (i < out.size()) {
    if (out.compare(i, 2, "//") == 0) {
      blank_to(std::min(out.find('\n', i), out.size()));
    } else if (out.compare(i, 2, "/*") == 0) {
      const std::size_t end = out.find("*/", i + 2);
      blank_to(end == std::string::npos ? out.size() : end + 2);
    } else if (out[i] == '"') {
      const std::size_t end = out.find('"', i + 1);
      blank_to(end == std::string::npos ? out.size() : end + 1);
    } else {
      ++i;
    }
  }
  return out;
}

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  std::size_t at = 0;

  void skip_space() {
    while (at < text_.size() && is_space(text_[at])) ++at;
  }
  std::string_view word() {
    skip_space();
    const std::size_t start = at;
    while (at < text_.size() && is_word(text_[at])) ++at;
    return text_.substr(start, at - start);
  }
  bool done() const { return at >= text_.size(); }
  char peek() const { return done() ? '\0' : text_[at]; }
  // Position behind the bracket that matches the one at `at`, or npos.
  std::size_t matching(char open, char close) const {
    std::size_t depth = 0;
    for (std::size_t i = at; i < text_.size(); ++i) {
      if (text_[i] == open) ++depth;
      if (text_[i] == close && --depth == 0) return i + 1;
    }
    return std::string_view::npos;
  }

 private:
  std::string_view text_;
};

unsigned number(std::string_view digits) {
  unsigned value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9' || value > 100000) break;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value;
}

std::uint32_t type_size(std::string_view type) {
  if (type.ends_with("64")) return 8;
  if (type.ends_with("32")) return 4;
  if (type.ends_with("16")) return 2;
  if (type.ends_with("8") && !type.ends_with("128")) return 1;
  return 0;
}

// ".param .align 8 .b8 name[24]" and ".param .u64 name", separated by commas.
std::vector<std::uint32_t> parameter_sizes(std::string_view list) {
  std::vector<std::uint32_t> sizes;
  std::size_t start = 0;
  while (start < list.size()) {
    const std::size_t end = std::min(list.find(',', start), list.size());
    const std::string_view one = list.substr(start, end - start);
    start = end + 1;
    Cursor cursor(one);
    std::uint32_t size = 0;
    bool any = false;
    while (!cursor.done()) {
      const std::string_view word = cursor.word();
      if (word.empty()) {
        if (cursor.peek() == '[') size *= number(one.substr(std::min(cursor.at + 1, one.size())));
        if (cursor.done()) break;
        ++cursor.at;
        continue;
      }
      any = true;
      if (word.size() > 1 && word[0] == '.' && type_size(word) != 0 && word != ".param") size = type_size(word);
    }
    if (any) sizes.push_back(size);
  }
  return sizes;
}

std::string_view trimmed(std::string_view text) {
  return text.substr(static_cast<std::size_t>(std::ranges::find_if_not(text, is_space) - text.begin()));
}

// What stands before an instruction without a ';' of its own: braces of blocks, labels, and .loc lines (nvcc -lineinfo
// writes one before nearly every instruction). Braces further on hold vector operands.
std::string_view without_prefixes(std::string_view statement) {
  for (;;) {
    statement = trimmed(statement);
    if (statement.starts_with('{') || statement.starts_with('}')) {
      statement = statement.substr(1);
      continue;
    }
    if (statement.starts_with(".loc") && statement.size() > 4 && is_space(statement[4])) {
      statement = statement.substr(std::min(statement.find('\n'), statement.size()));
      continue;
    }
    const auto name_end = std::ranges::find_if_not(statement, [](char c) { return is_word(c) && c != '.'; });
    const auto rest = trimmed({name_end, statement.end()});
    if (name_end == statement.begin() || !rest.starts_with(':')) return statement;
    statement = rest.substr(1);
  }
}

std::uint64_t count_instructions(std::string_view body) {
  std::uint64_t count = 0;
  std::size_t start = 0;
  while (start < body.size()) {
    const std::size_t end = std::min(body.find(';', start), body.size());
    const std::string_view statement = without_prefixes(body.substr(start, end - start));
    if (!statement.empty() && statement[0] != '.') ++count;
    start = end + 1;
  }
  return count;
}

void parse_head(PtxModule& module, std::string_view text) {
  Cursor cursor(text);
  if (cursor.word() != ".version") throw ParseError("not PTX: expected .version as the first directive", 0);
  const std::string_view version = cursor.word();
  const std::size_t dot = version.find('.');
  if (dot == std::string_view::npos) throw ParseError("PTX: .version without a number", 0);
  module.major = number(version.substr(0, dot));
  module.minor = number(version.substr(dot + 1));
  if (cursor.word() != ".target") throw ParseError("PTX: expected .target behind .version", 0);
  const std::string_view target = cursor.word();
  if (!target.starts_with("sm_")) throw ParseError("PTX: expected .target sm_NN", 0);
  module.arch = number(target.substr(3));
  if (target.ends_with('a')) module.feature = 'a';
  if (target.ends_with('f')) module.feature = 'f';
}

// `at` is behind the word ".entry"; moves it behind the body. Nothing for a mere declaration.
std::optional<PtxKernel> parse_entry(std::string_view text, std::size_t& at) {
  const std::size_t start = at;
  Cursor cursor(text);
  cursor.at = at;
  PtxKernel kernel;
  kernel.name = cursor.word();
  cursor.skip_space();
  if (kernel.name.empty()) return std::nullopt;
  if (cursor.peek() == '(') {
    const std::size_t end = cursor.matching('(', ')');
    if (end == std::string_view::npos) throw ParseError("PTX: text ends inside the parameters of " + kernel.name.substr(0, 80), start);
    kernel.parameters = parameter_sizes(text.substr(cursor.at + 1, end - cursor.at - 2));
    cursor.at = end;
  }
  // Tuning directives (.maxntid ...) may stand between the parameters and the body; a ';' ends a mere declaration.
  cursor.at = std::min(text.find_first_of("{;", cursor.at), text.size());
  at = cursor.at;
  if (cursor.peek() == ';') return std::nullopt;
  const std::size_t end = cursor.peek() == '{' ? cursor.matching('{', '}') : std::string_view::npos;
  if (end == std::string_view::npos) throw ParseError("PTX: text ends inside kernel " + kernel.name.substr(0, 80), start);
  const std::string_view body = text.substr(cursor.at + 1, end - cursor.at - 2);
  kernel.body_size = body.size();
  kernel.instructions = count_instructions(body);
  at = end;
  return kernel;
}

}  // namespace

bool is_ptx(std::string_view start) {
  try {
    PtxModule module;
    parse_head(module, without_comments(start));
    return true;
  } catch (const ParseError&) {
    return false;
  }
}

PtxModule parse_ptx(std::string_view raw) {
  const std::string text = without_comments(raw);
  PtxModule module;
  parse_head(module, text);
  constexpr std::string_view entry = ".entry";
  for (std::size_t at = text.find(entry); at != std::string::npos; at = text.find(entry, at)) {
    at += entry.size();
    if (at >= text.size() || !is_space(text[at])) continue;
    if (auto kernel = parse_entry(text, at)) module.kernels.push_back(std::move(*kernel));
  }
  if (std::ranges::count(text, '{') != std::ranges::count(text, '}')) {
    throw ParseError("PTX: text ends inside a block (more '{' than '}', or the reverse)", text.size());
  }
  return module;
}

}  // namespace shim
