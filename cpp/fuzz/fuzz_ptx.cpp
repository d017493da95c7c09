// PTX text: .version, .target and the entry functions.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using shim::fuzz::check;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const shim::PtxModule module = shim::parse_ptx(text);
    check(module.feature == 0 || module.feature == 'a' || module.feature == 'f', "suffix of the target");
    std::uint64_t bodies = 0;
    for (const shim::PtxKernel& k : module.kernels) {
      check(!k.name.empty() && text.find(k.name) != std::string_view::npos, "kernel names come from the text");
      check(k.instructions <= k.body_size, "an instruction takes a character");
      check(k.parameters.size() <= size, "a parameter takes a character");
      bodies += k.body_size;
    }
    check(bodies <= size, "bodies do not overlap");
  } catch (const shim::ParseError&) {
  }
  return 0;
}
