/* A CUDA runtime for a machine without a GPU: it says it is a DGX Spark, and writes down what it is given.
 *
 * Only the public interface is answered: registration of embedded code, launches, device properties, memory on the
 * host. Kernels do not run. Every other exported name of the real library is generated (fake_cudart.py): it logs its
 * first call and returns 0. Built with FAKE_MAJOR = 11, 12 or 13.
 */
#define _GNU_SOURCE
#include "fake_properties.h"
#include "fakelog.h"

#include <dlfcn.h>
#include <pthread.h>

#define API __attribute__((visibility("default")))
#define STREAM_TWIN(result, name, ...) API result name##_ptsz(__VA_ARGS__) __attribute__((alias(#name)));

enum { INVALID_VALUE = 1, INVALID_SYMBOL = 13, INVALID_FUNCTION = 98, MISSING_CONFIGURATION = 52, OUT_OF_MEMORY = 2 };

typedef struct { unsigned x, y, z; } dim3;
typedef struct { uint32_t magic, version; const uint8_t *data; const uint8_t *const *prelinked; } wrapper;

struct module {
  struct module *next;
  unsigned number, linked;
  struct shim_choice choice;
};

struct record { /* a kernel or a variable */
  struct record *next;
  struct module *module;
  const void *host;
  char *name;
  size_t size;
  void *storage;
  int kernel;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct module *modules;
static struct record *records;
static __thread int last_error;

static int result(int code) {
  if (code) last_error = code;
  return code;
}

/* The outcome of a device-linked wrapper without fitting machine code: the driver compiles and links the pre-linked
 * containers, so each of them needs a usable image. `linked` counts them. */
static struct shim_choice judge(const wrapper *from, unsigned number, unsigned *linked) {
  char name[64];
  size_t size = shim_container_size(from->data);
  snprintf(name, sizeof name, "%u.fatbin", number);
  shim_keep(name, from->data, size);
  struct shim_choice choice = shim_select(from->data, size, shim_device(), shim_ignored());
  if (from->version != 2 || !from->prelinked) return choice;
  struct shim_choice all = {SHIM_NOTHING, 0, 0, 0, 0};
  int missing = 0;
  for (unsigned part = 0; from->prelinked[part]; part++) {
    const uint8_t *data = from->prelinked[part];
    snprintf(name, sizeof name, "%u.%u.fatbin", number, part);
    shim_keep(name, data, shim_container_size(data));
    struct shim_choice one = shim_select(data, shim_container_size(data), shim_device(), shim_ignored());
    missing |= one.outcome != SHIM_PTX && one.outcome != SHIM_CUBIN;
    if (one.outcome == SHIM_PTX && (all.outcome != SHIM_PTX || one.isa > all.isa)) all = one;
    ++*linked;
  }
  return choice.outcome != SHIM_NOTHING || missing ? choice : all;
}

API void **__cudaRegisterFatBinary(void *argument) {
  const wrapper *from = argument;
  char library[4096], words[64];
  Dl_info info = {0};
  if (from->magic != SHIM_WRAPPER_MAGIC || !shim_container_size(from->data)) abort();
  struct module *made = calloc(1, sizeof *made);
  if (!made) abort();
  pthread_mutex_lock(&lock);
  made->number = modules ? modules->number + 1 : 0;
  made->next = modules;
  modules = made;
  pthread_mutex_unlock(&lock);
  made->choice = judge(from, made->number, &made->linked);
  dladdr(argument, &info);
  shim_log("{\"event\": \"fatbin\", \"module\": %u, \"library\": \"%s\", \"address\": %zu, \"version\": %u, "
           "\"size\": %zu, \"prelinked\": %u, \"outcome\": \"%s\"}",
           made->number, shim_quoted(library, sizeof library, info.dli_fname),
           (size_t)((const char *)argument - (const char *)info.dli_fbase), from->version,
           shim_container_size(from->data), made->linked, shim_words(words, sizeof words, made->choice));
  return (void **)made;
}

API void __cudaRegisterFatBinaryEnd(void **handle) {
  shim_log("{\"event\": \"end\", \"module\": %u}", ((struct module *)handle)->number);
}

API void __cudaUnregisterFatBinary(void **handle) { (void)handle; }
API char __cudaInitModule(void **handle) { return handle != NULL; }

static struct record *add(void **handle, const void *host, const char *name, int kernel, size_t size) {
  struct record *made = calloc(1, sizeof *made);
  if (!made || !(made->name = strdup(name))) abort();
  made->module = (struct module *)handle;
  made->host = host;
  made->kernel = kernel;
  made->size = size;
  pthread_mutex_lock(&lock);
  made->next = records;
  records = made;
  pthread_mutex_unlock(&lock);
  return made;
}

API void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int threads, void *tid,
                                void *bid, void *block, void *grid, int *warp) {
  char text[12288];
  (void)device, (void)threads, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
  add(handle, host, name, 1, 0);
  shim_log("{\"event\": \"kernel\", \"module\": %u, \"name\": \"%s\"}", ((struct module *)handle)->number,
           shim_quoted(text, sizeof text, name));
}

static void add_variable(void **handle, const void *host, const char *name, size_t size, int constant, int managed) {
  char text[12288];
  add(handle, host, name, 0, size);
  shim_log("{\"event\": \"variable\", \"module\": %u, \"name\": \"%s\", \"size\": %zu, \"constant\": %d, "
           "\"managed\": %d}",
           ((struct module *)handle)->number, shim_quoted(text, sizeof text, name), size, constant, managed);
}

API void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int external, size_t size,
                           int constant, int global) {
  (void)device, (void)external, (void)global;
  add_variable(handle, host, name, size, constant, 0);
}

API void __cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name, int external, size_t size,
                                  int constant, int global) {
  (void)device, (void)external, (void)global;
  *host = calloc(1, size);
  add_variable(handle, host, name, size, constant, 1);
}

/* `key` is the address of the host function or variable, or a handle that __cudaGetKernel gave out. */
static struct record *find(const void *key, int kernel) {
  pthread_mutex_lock(&lock);
  struct record *at = records;
  while (at && ((at->host != key && at != key) || at->kernel != kernel)) at = at->next;
  pthread_mutex_unlock(&lock);
  return at;
}

static int launch(const void *key, dim3 grid, dim3 block) {
  char words[64], text[12288];
  struct record *kernel = find(key, 1);
  if (!kernel) {
    shim_log("{\"event\": \"launch\", \"module\": -1, \"kernel\": \"\", \"outcome\": \"UNKNOWN KERNEL\", "
             "\"code\": %d}", INVALID_FUNCTION);
    return result(INVALID_FUNCTION);
  }
  int code = shim_code(kernel->module->choice);
  shim_log("{\"event\": \"launch\", \"module\": %u, \"kernel\": \"%s\", \"outcome\": \"%s\", \"code\": %d, "
           "\"grid\": [%u, %u, %u], \"block\": [%u, %u, %u]}",
           kernel->module->number, shim_quoted(text, sizeof text, kernel->name),
           shim_words(words, sizeof words, kernel->module->choice), code, grid.x, grid.y, grid.z, block.x, block.y,
           block.z);
  return result(code);
}

API int __cudaGetKernel(void **kernel, const void *host) {
  *kernel = find(host, 1);
  return result(*kernel ? 0 : INVALID_FUNCTION);
}
API int cudaGetKernel(void **kernel, const void *host) { return __cudaGetKernel(kernel, host); }

API int cudaLaunchKernel(const void *key, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream) {
  (void)arguments, (void)shared, (void)stream;
  return launch(key, grid, block);
}
STREAM_TWIN(int, cudaLaunchKernel, const void *, dim3, dim3, void **, size_t, void *)

API int __cudaLaunchKernel(void *key, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream)
    __attribute__((alias("cudaLaunchKernel")));
STREAM_TWIN(int, __cudaLaunchKernel, void *, dim3, dim3, void **, size_t, void *)
API int cudaLaunchCooperativeKernel(const void *, dim3, dim3, void **, size_t, void *)
    __attribute__((alias("cudaLaunchKernel")));
STREAM_TWIN(int, cudaLaunchCooperativeKernel, const void *, dim3, dim3, void **, size_t, void *)

API int cudaLaunchKernelExC(const dim3 *configuration, const void *key, void **arguments) {
  (void)arguments; /* struct cudaLaunchConfig_st begins with grid and block */
  return launch(key, configuration[0], configuration[1]);
}
STREAM_TWIN(int, cudaLaunchKernelExC, const dim3 *, const void *, void **)

static __thread struct { dim3 grid, block; size_t shared; void *stream; } pushed[16];
static __thread unsigned depth;

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
  if (depth == sizeof pushed / sizeof *pushed) return 1;
  pushed[depth].grid = grid;
  pushed[depth].block = block;
  pushed[depth].shared = shared;
  pushed[depth++].stream = stream;
  return 0;
}

API int __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  if (!depth) return result(MISSING_CONFIGURATION);
  depth--;
  *grid = pushed[depth].grid;
  *block = pushed[depth].block;
  *shared = pushed[depth].shared;
  *(void **)stream = pushed[depth].stream;
  return 0;
}

API int cudaGetDeviceCount(int *count) { return *count = 1, 0; }
API int cudaGetDevice(int *device) { return *device = 0, 0; }
API int cudaDriverGetVersion(int *version) { return *version = 13000, 0; }
API int cudaRuntimeGetVersion(int *version) { return *version = FAKE_MAJOR * 1000, 0; }
API int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  return *value = spark_attribute(attribute, shim_device()), result(device ? 101 : 0);
}

API int cudaGetDeviceProperties_v2(struct fake_properties *out, int device) {
  fill_properties(out, shim_device());
  return result(device ? 101 : 0);
}

API int cudaGetDeviceProperties(void *out, int device) {
  struct fake_properties properties;
  fill_properties(&properties, shim_device());
  size_t known = offsetof(struct fake_properties, hostRegisterSupported);
  memcpy(out, &properties, FAKE_MAJOR >= 13 ? sizeof properties : known);
  return result(device ? 101 : 0);
}

API int cudaGetLastError(void) {
  int code = last_error;
  last_error = 0;
  return code;
}
API int cudaPeekAtLastError(void) { return last_error; }

API const char *cudaGetErrorName(int code) {
  switch (code) {
    case 0: return "cudaSuccess";
    case INVALID_VALUE: return "cudaErrorInvalidValue";
    case OUT_OF_MEMORY: return "cudaErrorMemoryAllocation";
    case INVALID_SYMBOL: return "cudaErrorInvalidSymbol";
    case INVALID_FUNCTION: return "cudaErrorInvalidDeviceFunction";
    case SHIM_NO_IMAGE: return "cudaErrorNoKernelImageForDevice";
    case SHIM_NEW_PTX: return "cudaErrorUnsupportedPtxVersion";
    case SHIM_BAD_IMAGE: return "cudaErrorInvalidKernelImage";
    default: return "cudaErrorUnknown";
  }
}
API const char *cudaGetErrorString(int code) { return cudaGetErrorName(code); }

API int cudaMalloc(void **out, size_t size) {
  *out = calloc(1, size ? size : 1);
  return result(*out ? 0 : OUT_OF_MEMORY);
}
API int cudaMallocHost(void **out, size_t size) { return cudaMalloc(out, size); }
API int cudaMallocManaged(void **out, size_t size, unsigned flags) { return (void)flags, cudaMalloc(out, size); }
API int cudaHostAlloc(void **out, size_t size, unsigned flags) { return (void)flags, cudaMalloc(out, size); }
API int cudaMallocAsync(void **out, size_t size, void *stream) { return (void)stream, cudaMalloc(out, size); }
STREAM_TWIN(int, cudaMallocAsync, void **, size_t, void *)
API int cudaFree(void *memory) { return free(memory), 0; }
API int cudaFreeHost(void *memory) { return free(memory), 0; }
API int cudaFreeAsync(void *memory, void *stream) { return (void)stream, free(memory), 0; }
STREAM_TWIN(int, cudaFreeAsync, void *, void *)
API int cudaMemcpy(void *to, const void *from, size_t size, int kind) { return (void)kind, memmove(to, from, size), 0; }
API int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
  return (void)stream, cudaMemcpy(to, from, size, kind);
}
STREAM_TWIN(int, cudaMemcpyAsync, void *, const void *, size_t, int, void *)
API int cudaMemset(void *to, int value, size_t size) { return memset(to, value, size), 0; }
API int cudaMemsetAsync(void *to, int value, size_t size, void *stream) {
  return (void)stream, cudaMemset(to, value, size);
}
STREAM_TWIN(int, cudaMemsetAsync, void *, int, size_t, void *)
API int cudaMemGetInfo(size_t *available, size_t *total) { return *available = *total = spark_memory(), 0; }

/* Memory of a registered variable, if the container has an image for the device. */
API int cudaGetSymbolAddress(void **out, const void *symbol) {
  struct record *variable = find(symbol, 0);
  if (!variable) return result(INVALID_SYMBOL);
  if (!variable->storage) variable->storage = calloc(1, variable->size ? variable->size : 1);
  *out = variable->storage;
  return result(shim_code(variable->module->choice));
}
API int cudaGetSymbolSize(size_t *out, const void *symbol) {
  struct record *variable = find(symbol, 0);
  return *out = variable ? variable->size : 0, result(variable ? 0 : INVALID_SYMBOL);
}
API int cudaMemcpyToSymbol(const void *symbol, const void *from, size_t size, size_t offset, int kind) {
  void *to;
  int code = cudaGetSymbolAddress(&to, symbol);
  return code ? code : cudaMemcpy((char *)to + offset, from, size, kind);
}
API int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t size, size_t offset, int kind) {
  void *from;
  int code = cudaGetSymbolAddress(&from, symbol);
  return code ? code : cudaMemcpy(to, (char *)from + offset, size, kind);
}

API int cudaStreamCreate(void **stream) { return cudaMalloc(stream, 1); }
API int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return (void)flags, cudaMalloc(stream, 1); }
API int cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
  return (void)flags, (void)priority, cudaMalloc(stream, 1);
}
API int cudaStreamDestroy(void *stream) { return cudaFree(stream); }
API int cudaStreamIsCapturing(void *stream, int *status) { return (void)stream, *status = 0, 0; }
STREAM_TWIN(int, cudaStreamIsCapturing, void *, int *)
API int cudaEventCreate(void **event) { return cudaMalloc(event, 1); }
API int cudaEventCreateWithFlags(void **event, unsigned flags) { return (void)flags, cudaMalloc(event, 1); }
API int cudaEventDestroy(void *event) { return cudaFree(event); }
API int cudaEventElapsedTime(float *milliseconds, void *from, void *to) {
  return (void)from, (void)to, *milliseconds = 0, 0;
}

struct attributes { size_t shared, constant, local; int threads, registers, ptx, binary; };

API int cudaFuncGetAttributes(struct attributes *out, const void *key) {
  struct record *kernel = find(key, 1);
  memset(out, 0, sizeof *out);
  if (!kernel) return result(INVALID_FUNCTION);
  out->threads = 1024;
  out->ptx = (int)kernel->module->choice.arch;
  out->binary = kernel->module->choice.outcome == SHIM_PTX ? (int)shim_device() : out->ptx;
  return result(shim_code(kernel->module->choice));
}
API int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *key, int threads, size_t shared) {
  return (void)threads, (void)shared, *blocks = 1, result(find(key, 1) ? 0 : INVALID_FUNCTION);
}
API int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *key, int threads, size_t shared,
                                                               unsigned flags) {
  return (void)flags, cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, key, threads, shared);
}
