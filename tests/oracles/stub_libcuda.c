/* libcuda.so.1 for users of the driver API on a machine without a GPU: a DGX Spark that takes images and runs nothing.
 *
 * About 50 public functions are answered. Any other name that cuGetProcAddress is asked for gets a function that logs
 * its call and answers "not supported". There are no private tables: cuGetExportTable answers "not found", so the real
 * CUDA runtime does not start on this library, and is not meant to.
 */
#define _GNU_SOURCE
#include "fake_properties.h"
#include "fakelog.h"

#include <pthread.h>

#define API __attribute__((visibility("default"))) int

enum { OK, INVALID_VALUE, OUT_OF_MEMORY, INVALID_DEVICE = 101, NOT_FOUND = 500, NOT_SUPPORTED = 801 };

typedef unsigned long long pointer;

struct image {
  unsigned number;
  struct shim_choice choice;
};

struct function {
  struct image *image;
  char *name;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned images;
static __thread void *context;

static const char *form(const uint8_t *image) {
  return *(const uint32_t *)(const void *)image == SHIM_CONTAINER_MAGIC ? "fatbin" : *image == 127 ? "cubin" : "ptx";
}

static int load(const char *call, void **out, const void *given) {
  char words[64], name[32];
  const uint8_t *image = given;
  if (!image) return INVALID_VALUE;
  if (*(const uint32_t *)given == SHIM_WRAPPER_MAGIC) memcpy(&image, (const char *)given + 8, sizeof image);
  struct image *made = calloc(1, sizeof *made);
  if (!made) return OUT_OF_MEMORY;
  pthread_mutex_lock(&lock);
  made->number = images++;
  pthread_mutex_unlock(&lock);
  made->choice = shim_select_image(image, shim_device());
  size_t size = shim_image_size(image);
  int code = shim_code(made->choice);
  snprintf(name, sizeof name, "%u.image", made->number);
  shim_keep(name, image, size);
  shim_log("{\"event\": \"load\", \"call\": \"%s\", \"image\": %u, \"form\": \"%s\", \"size\": %zu, "
           "\"outcome\": \"%s\", \"code\": %d}",
           call, made->number, form(image), size, shim_words(words, sizeof words, made->choice), code);
  *out = made;
  return code;
}

static int load_file(const char *call, void **out, const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return 301; /* CUDA_ERROR_FILE_NOT_FOUND */
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  char *data = calloc(1, size + 64);
  size_t got = fread(data, 1, size, file);
  fclose(file);
  int code = got == size ? load(call, out, data) : 304; /* CUDA_ERROR_OPERATING_SYSTEM */
  free(data);
  return code;
}

static int get(void **out, void *image, const char *name) {
  char text[12288];
  struct function *made = calloc(1, sizeof *made);
  if (!made || !(made->name = strdup(name))) return OUT_OF_MEMORY;
  made->image = image;
  shim_log("{\"event\": \"kernel\", \"image\": %u, \"name\": \"%s\"}", made->image->number,
           shim_quoted(text, sizeof text, name));
  *out = made;
  return OK;
}

static int launch(const struct function *function) {
  char words[64], text[12288];
  int code = shim_code(function->image->choice);
  shim_log("{\"event\": \"launch\", \"image\": %u, \"kernel\": \"%s\", \"outcome\": \"%s\", \"code\": %d}",
           function->image->number, shim_quoted(text, sizeof text, function->name),
           shim_words(words, sizeof words, function->image->choice), code);
  return code;
}

API cuInit(unsigned flags) { return (void)flags, OK; }
API cuDriverGetVersion(int *version) { return *version = 13000, OK; }
API cuDeviceGetCount(int *count) { return *count = 1, OK; }
API cuDeviceGet(int *device, int number) { return *device = 0, number ? INVALID_DEVICE : OK; }
API cuDeviceGetName(char *name, int length, int device) {
  struct fake_properties properties;
  fill_properties(&properties, shim_device());
  snprintf(name, (size_t)length, "%s", properties.name);
  return device ? INVALID_DEVICE : OK;
}
API cuDeviceGetAttribute(int *value, int attribute, int device) {
  return *value = spark_attribute(attribute, shim_device()), device ? INVALID_DEVICE : OK;
}
API cuDeviceComputeCapability(int *major, int *minor, int device) {
  *major = (int)shim_device() / 10;
  *minor = (int)shim_device() % 10;
  return device ? INVALID_DEVICE : OK;
}
API cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = spark_memory(), device ? INVALID_DEVICE : OK; }
API cuDeviceGetUuid_v2(void *uuid, int device) { return memset(uuid, 0, 16), device ? INVALID_DEVICE : OK; }
API cuDevicePrimaryCtxRetain(void **out, int device) { return *out = &images, device ? INVALID_DEVICE : OK; }
API cuDevicePrimaryCtxRelease_v2(int device) { return device ? INVALID_DEVICE : OK; }
API cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  return *flags = 0, *active = 1, device ? INVALID_DEVICE : OK;
}
API cuCtxGetCurrent(void **out) { return *out = context, OK; }
API cuCtxSetCurrent(void *chosen) { return context = chosen, OK; }
API cuCtxPushCurrent_v2(void *chosen) { return context = chosen, OK; }
API cuCtxPopCurrent_v2(void **out) { return *out = context, context = NULL, OK; }
API cuCtxGetDevice(int *device) { return *device = 0, OK; }
API cuCtxSynchronize(void) { return OK; }
API cuCtxGetLimit(size_t *value, int limit) { return (void)limit, *value = 0, OK; }
API cuCtxSetLimit(int limit, size_t value) { return (void)limit, (void)value, OK; }

API cuModuleLoad(void **out, const char *path) { return load_file("cuModuleLoad", out, path); }
API cuModuleLoadData(void **out, const void *image) { return load("cuModuleLoadData", out, image); }
API cuModuleLoadFatBinary(void **out, const void *image) { return load("cuModuleLoadFatBinary", out, image); }
API cuModuleLoadDataEx(void **out, const void *image, unsigned count, int *options, void **values) {
  return (void)count, (void)options, (void)values, load("cuModuleLoadDataEx", out, image);
}
API cuModuleUnload(void *module) { return (void)module, OK; }
API cuModuleGetFunction(void **out, void *module, const char *name) { return get(out, module, name); }
API cuLibraryLoadData(void **out, const void *image, int *options, void **values, unsigned count, int *more,
                      void **more_values, unsigned more_count) {
  (void)options, (void)values, (void)count, (void)more, (void)more_values, (void)more_count;
  return load("cuLibraryLoadData", out, image);
}
API cuLibraryLoadFromFile(void **out, const char *path, int *options, void **values, unsigned count, int *more,
                          void **more_values, unsigned more_count) {
  (void)options, (void)values, (void)count, (void)more, (void)more_values, (void)more_count;
  return load_file("cuLibraryLoadFromFile", out, path);
}
API cuLibraryUnload(void *library) { return (void)library, OK; }
API cuLibraryGetModule(void **out, void *library) { return *out = library, OK; }
API cuLibraryGetKernel(void **out, void *library, const char *name) { return get(out, library, name); }
API cuKernelGetFunction(void **out, void *kernel) { return *out = kernel, OK; }

API cuFuncGetAttribute(int *value, int attribute, void *function) {
  const struct function *of = function;
  *value = attribute == 0 ? 1024 : attribute == 5 || attribute == 6 ? (int)of->image->choice.arch : 0;
  return OK;
}
API cuFuncSetAttribute(void *function, int attribute, int value) {
  return (void)function, (void)attribute, (void)value, OK;
}
API cuFuncSetCacheConfig(void *function, int config) { return (void)function, (void)config, OK; }
API cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
  (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared, (void)stream, (void)arguments, (void)extra;
  return launch(function);
}
API cuLaunchKernelEx(const void *configuration, void *function, void **arguments, void **extra) {
  return (void)configuration, (void)arguments, (void)extra, launch(function);
}

API cuMemAlloc_v2(pointer *out, size_t size) {
  void *made = calloc(1, size);
  *out = (pointer)(uintptr_t)made;
  return made ? OK : OUT_OF_MEMORY;
}
API cuMemFree_v2(pointer memory) { return free((void *)(uintptr_t)memory), OK; }
API cuMemcpyHtoD_v2(pointer to, const void *from, size_t size) {
  return memmove((void *)(uintptr_t)to, from, size), OK;
}
API cuMemcpyDtoH_v2(void *to, pointer from, size_t size) {
  return memmove(to, (const void *)(uintptr_t)from, size), OK;
}
API cuMemGetInfo_v2(size_t *available, size_t *total) { return *available = *total = spark_memory(), OK; }
API cuPointerGetAttribute(void *out, int attribute, pointer memory) {
  if (attribute != 3) return NOT_SUPPORTED; /* CU_POINTER_ATTRIBUTE_DEVICE_POINTER */
  return memcpy(out, &memory, sizeof memory), OK;
}
API cuStreamCreate(void **out, unsigned flags) { return (void)flags, *out = calloc(1, 1), OK; }
API cuStreamDestroy_v2(void *stream) { return free(stream), OK; }
API cuStreamSynchronize(void *stream) { return (void)stream, OK; }

API cuGetErrorName(int code, const char **out) {
  *out = code == OK              ? "CUDA_SUCCESS"
         : code == SHIM_NO_IMAGE ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
         : code == SHIM_NEW_PTX  ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
         : code == SHIM_BAD_IMAGE ? "CUDA_ERROR_INVALID_IMAGE"
         : code == NOT_FOUND     ? "CUDA_ERROR_NOT_FOUND"
         : code == NOT_SUPPORTED ? "CUDA_ERROR_NOT_SUPPORTED"
                                 : "CUDA_ERROR_UNKNOWN";
  return OK;
}
API cuGetErrorString(int code, const char **out) { return cuGetErrorName(code, out); }

/* Private tables do not exist here, on purpose. */
API cuGetExportTable(const void **out, const void *name) {
  (void)name, *out = NULL;
  shim_log("{\"event\": \"call\", \"name\": \"cuGetExportTable\"}");
  return NOT_FOUND;
}

/* Functions for names that are not answered: one of its own for each, so that the log can say which was called. */
enum { MOST = 1024 };
static char *names[MOST];
static int called(unsigned number) {
  shim_log("{\"event\": \"call\", \"name\": \"%s\"}", names[number]);
  return NOT_SUPPORTED;
}
#define THUNK(number) static int thunk_##number(void) { return called(number); }
#include "stub_thunks.h"
#undef THUNK
static int (*const thunks[MOST])(void) = {
#define THUNK(number) thunk_##number,
#include "stub_thunks.h"
#undef THUNK
};

API cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status);
API cuGetProcAddress(const char *name, void **out, int version, uint64_t flags) {
  return cuGetProcAddress_v2(name, out, version, flags, NULL);
}

#define ANSWERED(X)                                                                                                    \
  X(cuInit) X(cuDriverGetVersion) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetName) X(cuDeviceGetAttribute)        \
  X(cuDeviceComputeCapability) X(cuDeviceTotalMem_v2) X(cuDeviceGetUuid_v2) X(cuDevicePrimaryCtxRetain)                \
  X(cuDevicePrimaryCtxRelease_v2) X(cuDevicePrimaryCtxGetState) X(cuCtxGetCurrent) X(cuCtxSetCurrent)                  \
  X(cuCtxPushCurrent_v2) X(cuCtxPopCurrent_v2) X(cuCtxGetDevice) X(cuCtxSynchronize) X(cuCtxGetLimit) X(cuCtxSetLimit) \
  X(cuModuleLoad) X(cuModuleLoadData) X(cuModuleLoadFatBinary) X(cuModuleLoadDataEx) X(cuModuleUnload)                 \
  X(cuModuleGetFunction) X(cuLibraryLoadData) X(cuLibraryLoadFromFile) X(cuLibraryUnload) X(cuLibraryGetModule)        \
  X(cuLibraryGetKernel) X(cuKernelGetFunction) X(cuFuncGetAttribute) X(cuFuncSetAttribute) X(cuFuncSetCacheConfig)     \
  X(cuLaunchKernel) X(cuLaunchKernelEx) X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemcpyHtoD_v2) X(cuMemcpyDtoH_v2)         \
  X(cuMemGetInfo_v2) X(cuPointerGetAttribute) X(cuStreamCreate) X(cuStreamDestroy_v2) X(cuStreamSynchronize)           \
  X(cuGetErrorName) X(cuGetErrorString) X(cuGetExportTable) X(cuGetProcAddress_v2)

static const struct { const char *name; void *function; } answered[] = {
#define ROW(name) {#name, (void *)name},
    ANSWERED(ROW)
#undef ROW
};

/* "cuMemAlloc" means its newest version, as the real function has it for a caller of today. */
API cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status) {
  char versioned[256];
  (void)version, (void)flags;
  snprintf(versioned, sizeof versioned, "%s_v2", name);
  if (status) *status = 0;
  for (size_t row = 0; row < sizeof answered / sizeof *answered; row++)
    if (!strcmp(answered[row].name, name) || !strcmp(answered[row].name, versioned))
      return *out = answered[row].function, OK;
  pthread_mutex_lock(&lock);
  unsigned number = 0;
  while (number < MOST && names[number] && strcmp(names[number], name)) number++;
  if (number < MOST && !names[number]) names[number] = strdup(name);
  pthread_mutex_unlock(&lock);
  *out = number < MOST ? (void *)thunks[number] : NULL;
  if (number == MOST && status) *status = 1; /* CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND */
  return number < MOST ? OK : NOT_FOUND;
}
