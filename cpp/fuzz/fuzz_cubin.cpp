// A cubin: its header, sections, .nv.compat, symbols and kernel parameters.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using shim::fuzz::check;
  const shim::Bytes image(reinterpret_cast<const std::byte*>(data), size);
  try {
    const shim::Cubin cubin = shim::parse_cubin(image);
    check(shim::is_cubin(image), "what is read is a cubin");
    check(cubin.arch <= 255 && (cubin.feature == 0 || cubin.feature == 'a'), "architecture of a cubin");
    check(cubin.compat.size() <= size, ".nv.compat inside the image");
    for (const shim::CubinSymbol& s : cubin.symbols) {
      check(s.function || !s.kernel, "kernels are functions");
      check(s.kernel || s.parameters.empty(), "only kernels have parameters");
      check(s.name.size() < size && s.parameters.size() * 16 <= size, "names and parameters inside the image");
    }
  } catch (const shim::ParseError&) {
  }
  return 0;
}
