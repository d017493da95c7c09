/* What both fakes share: the words for an outcome, and the log, one JSON object a line.
 *
 * SHIM_FAKE_GPU_LOG     file the lines are appended to; without it nothing is logged
 * SHIM_FAKE_GPU_IMAGES  folder that gets a copy of every image handed over
 * SHIM_FAKE_GPU_SM      device, default 121
 * SHIM_FAKE_GPU_ISA     newest PTX ISA the driver reads, major * 100 + minor, default 900 (CUDA 13.0)
 * CUDA_FORCE_PTX_JIT, CUDA_DISABLE_PTX_JIT as NVIDIA documents them
 */
#ifndef SHIM_ORACLE_FAKELOG_H
#define SHIM_ORACLE_FAKELOG_H

#include "selector.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHIM_NO_IMAGE = 209, SHIM_BAD_IMAGE = 200, SHIM_NEW_PTX = 222 };

static inline uint32_t shim_setting(const char *name, uint32_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static inline uint32_t shim_device(void) { return shim_setting("SHIM_FAKE_GPU_SM", 121); }

static inline uint32_t shim_ignored(void) {
  return (shim_setting("CUDA_FORCE_PTX_JIT", 0) ? SHIM_IGNORE_CUBINS : 0u) |
         (shim_setting("CUDA_DISABLE_PTX_JIT", 0) ? SHIM_IGNORE_PTX : 0u);
}

__attribute__((format(printf, 1, 2))) static inline void shim_log(const char *format, ...) {
  const char *path = getenv("SHIM_FAKE_GPU_LOG");
  if (!path || !*path) return;
  char line[16384];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= sizeof line - 1) abort();
  line[length] = '\n';
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0 || write(file, line, (size_t)length + 1) != length + 1) abort();
  close(file);
}

/* Copies `text` with the escapes of JSON; too long a text is cut. */
static inline const char *shim_quoted(char *buffer, size_t size, const char *text) {
  size_t used = 0;
  for (; text && *text && used + 7 < size; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte == '"' || byte == '\\') buffer[used++] = '\\';
    if (byte < 32) used += (size_t)snprintf(buffer + used, 7, "\\u%04x", byte);
    else buffer[used++] = (char)byte;
  }
  buffer[used] = 0;
  return buffer;
}

static inline void shim_keep(const char *name, const void *image, size_t size) {
  const char *folder = getenv("SHIM_FAKE_GPU_IMAGES");
  char path[4096];
  if (!folder || !*folder) return;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(image, 1, size, file) != size || fclose(file)) abort();
}

/* Error code of a launch or load with this choice. */
static inline int shim_code(struct shim_choice choice) {
  switch (choice.outcome) {
    case SHIM_CUBIN: return 0;
    case SHIM_PTX: return choice.isa > shim_setting("SHIM_FAKE_GPU_ISA", 900) ? SHIM_NEW_PTX : 0;
    case SHIM_DAMAGED: return SHIM_BAD_IMAGE;
    default: return SHIM_NO_IMAGE;
  }
}

/* "SASS sm_121", "JIT compute_80", "JIT TOO NEW compute_80", "UNPROVEN sm_120", "NO IMAGE", "DAMAGED". */
static inline const char *shim_words(char *buffer, size_t size, struct shim_choice choice) {
  static const char *const words[] = {
      [SHIM_NOTHING] = "NO IMAGE", [SHIM_CUBIN] = "SASS sm_", [SHIM_PTX] = "JIT compute_",
      [SHIM_UNPROVEN] = "UNPROVEN sm_", [SHIM_DAMAGED] = "DAMAGED"};
  const char *word = shim_code(choice) == SHIM_NEW_PTX ? "JIT TOO NEW compute_" : words[choice.outcome];
  char suffix[2] = {choice.suffix, 0};
  if (word[strlen(word) - 1] == '_') snprintf(buffer, size, "%s%u%s", word, choice.arch, suffix);
  else snprintf(buffer, size, "%s", word);
  return buffer;
}

#endif
