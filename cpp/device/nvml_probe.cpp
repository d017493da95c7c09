#include "nvml_probe.hpp"

#include <algorithm>
#include <array>

#include "library.hpp"

namespace shim {
namespace {

using Handle = void*;
using Plain = int();
using GetSystemText = int(char*, unsigned);
using GetSystemInt = int(int*);
using GetCount = int(unsigned*);
using GetHandle = int(unsigned, Handle*);
using GetText = int(Handle, char*, unsigned);
using GetCapability = int(Handle, int*, int*);
struct Memory {
  unsigned long long total = 0, free = 0, used = 0;
};
using GetMemory = int(Handle, Memory*);
using GetMode = int(Handle, unsigned*, unsigned*);
using ErrorText = const char*(int);

constexpr int kMissing = -1;
constexpr unsigned kMostDevices = 1024;  // a driver that counts more is not to be believed

class Nvml {
 public:
  Nvml(const DriverLibrary& library, NvmlProbe& out) : library_(library), out_(out) {}

  template <class Function, class... Args>
  bool call(const char* name, Args... args) {
    const int code = run<Function>(name, args...);
    if (code == 0) return true;
    out_.step = name;
    out_.code = code;
    out_.words = words_of(code);
    return false;
  }

  // A question that need not be answered.
  template <class Function, class... Args>
  bool ask(NvmlDevice& device, const char* name, Args... args) {
    const int code = run<Function>(name, args...);
    if (code != 0) device.unanswered.push_back(std::string(name) + ": " + words_of(code));
    return code == 0;
  }

 private:
  template <class Function, class... Args>
  int run(const char* name, Args... args) const {
    auto* function = library_.function<Function>(name);
    return function == nullptr ? kMissing : function(args...);
  }

  std::string words_of(int code) const {
    if (code == kMissing) return "the library has no such function";
    auto* text = library_.function<ErrorText>("nvmlErrorString");
    const char* words = text == nullptr ? nullptr : text(code);
    return words == nullptr ? "error " + std::to_string(code) : words;
  }

  const DriverLibrary& library_;
  NvmlProbe& out_;
};

void read_device(Nvml& nvml, Handle handle, NvmlDevice& device) {
  std::array<char, 128> text{};
  const auto size = static_cast<unsigned>(text.size() - 1);
  if (nvml.ask<GetText>(device, "nvmlDeviceGetName", handle, text.data(), size)) device.name = text.data();
  text.fill('\0');
  if (nvml.ask<GetText>(device, "nvmlDeviceGetUUID", handle, text.data(), size)) device.uuid = text.data();
  int major = 0;
  int minor = 0;
  if (nvml.ask<GetCapability>(device, "nvmlDeviceGetCudaComputeCapability", handle, &major, &minor))
    device.capability = {major, minor};
  Memory memory;
  if (nvml.ask<GetMemory>(device, "nvmlDeviceGetMemoryInfo", handle, &memory)) device.total_memory = memory.total;
  unsigned now = 0;
  unsigned later = 0;
  if (nvml.ask<GetMode>(device, "nvmlDeviceGetMigMode", handle, &now, &later)) device.mig = now != 0;
}

}  // namespace

NvmlProbe probe_nvml(const std::vector<std::string>& candidates) {
  NvmlProbe out;
  const DriverLibrary library(candidates);
  if (!library) {
    out.step = "dlopen";
    out.words = library.error();
    return out;
  }
  out.library = library.path();
  Nvml nvml(library, out);
  if (!nvml.call<Plain>("nvmlInit_v2")) return out;
  std::array<char, 96> text{};
  if (auto* call = library.function<GetSystemText>("nvmlSystemGetDriverVersion");
      call != nullptr && call(text.data(), static_cast<unsigned>(text.size() - 1)) == 0)
    out.driver = text.data();
  if (auto* call = library.function<GetSystemInt>("nvmlSystemGetCudaDriverVersion_v2"); call != nullptr)
    call(&out.driver_cuda);
  unsigned count = 0;
  if (nvml.call<GetCount>("nvmlDeviceGetCount_v2", &count)) {
    for (unsigned index = 0; index < std::min(count, kMostDevices); ++index) {
      Handle handle = nullptr;
      if (!nvml.call<GetHandle>("nvmlDeviceGetHandleByIndex_v2", index, &handle)) break;
      NvmlDevice& device = out.devices.emplace_back();
      device.index = index;
      read_device(nvml, handle, device);
    }
  }
  if (auto* shutdown = library.function<Plain>("nvmlShutdown"); shutdown != nullptr) shutdown();
  return out;
}

}  // namespace shim
