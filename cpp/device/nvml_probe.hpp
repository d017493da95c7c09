// Asks NVML (libnvidia-ml) what devices there are. It makes no CUDA context, but may hang with a wedged driver, so shim
// runs it in a process of its own. Functions and codes: NVML API reference.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shim {

struct NvmlDevice {
  unsigned index = 0;
  std::string name;
  std::string uuid;  // as NVML writes it: GPU-xxxxxxxx-xxxx-...
  std::optional<std::pair<int, int>> capability;
  std::optional<std::uint64_t> total_memory;  // bytes; nothing on GB10, where NVML answers NOT_SUPPORTED
  std::optional<bool> mig;                    // nothing where the device has no such mode
  std::vector<std::string> unanswered;        // calls that this device or driver does not answer, with the words
};

struct NvmlProbe {
  std::string library;
  std::string step;
  int code = 0;
  std::string words;
  std::string driver;   // "580.95.05"
  int driver_cuda = 0;  // 13000 for 13.0
  std::vector<NvmlDevice> devices;
};

// Never throws for what the driver does.
NvmlProbe probe_nvml(const std::vector<std::string>& candidates);

}  // namespace shim
