#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace shim {

// The file is well-formed, but it cannot be rewritten safely. `offset` is where in the file the reason stands.
class RefusedError : public std::runtime_error {
 public:
  RefusedError(const std::string& what, std::uint64_t offset) : std::runtime_error(what), offset_(offset) {}
  std::uint64_t offset() const noexcept { return offset_; }

 private:
  std::uint64_t offset_;
};

}  // namespace shim
