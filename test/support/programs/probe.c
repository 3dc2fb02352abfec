/* The program that test images run: small, static, and with every behaviour that a test needs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int copy_to_stdout(const char *path) {
  char block[512];
  size_t size;
  FILE *file = fopen(path, "r");
  if (!file) return 1;
  while ((size = fread(block, 1, sizeof block, file)) > 0) fwrite(block, 1, size, stdout);
  return 0;
}

static int write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  if (!file || fputs(text, file) < 0) return 1;
  return fclose(file);
}

static int copy_file(const char *from, const char *to) {
  return freopen(to, "w", stdout) ? copy_to_stdout(from) || fclose(stdout) : 1;
}

/* Starts so many processes, which live until it ends; each that can't be started ends it, in the words of a shell. */
static int start(int processes) {
  for (int count = 0; count < processes; count++) {
    pid_t child = fork();
    if (child == 0) return sleep(60);
    if (child < 0) return perror("can't fork"), 2;
  }
  return 0;
}

/* Takes so many MiB of memory. */
static int take(int mebibytes) {
  for (int count = 0; count < mebibytes; count++) {
    char *block = malloc(1 << 20);
    if (!block) return perror("malloc"), 1;
    memset(block, 1, 1 << 20);
  }
  return 0;
}

/* Has a child take so many MiB, and hold them for a second; complains as make does when a compiler was killed. */
static int strain(int mebibytes) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) _exit(take(mebibytes) || sleep(1));
  if (child < 0 || waitpid(child, &status, 0) < 0) return perror("child"), 1;
  return status == 0 ? 0 : (fputs("Killed signal terminated program\n", stderr), 2);
}

/* Writes so many MiB of zeros, as a compiler writes its output, and complains as a compiler does. */
static int fill(const char *path, int mebibytes) {
  static char block[1 << 20];
  FILE *file = fopen(path, "w");
  if (!file) return perror(path), 1;
  for (int count = 0; count < mebibytes; count++)
    if (fwrite(block, 1, sizeof block, file) != sizeof block) return perror(path), 1;
  return fclose(file);
}

int main(int count, char **words) {
  const char *what = count > 1 ? words[1] : "";
  if (!strcmp(what, "print")) return copy_to_stdout(words[2]);
  if (!strcmp(what, "write")) return write_file(words[2], words[3]);
  if (!strcmp(what, "copy")) return copy_file(words[2], words[3]);
  if (!strcmp(what, "start")) return start(atoi(words[2]));
  if (!strcmp(what, "take")) return take(atoi(words[2]));
  if (!strcmp(what, "strain")) return strain(atoi(words[2]));
  if (!strcmp(what, "fill")) return fill(words[2], atoi(words[3]));
  if (!strcmp(what, "sleep")) {
    puts("sleeping");
    fflush(stdout);
    return sleep(atoi(words[2]));
  }
  if (!strcmp(what, "fail")) {
    for (int number = 1; number <= 40; number++) printf("line %d\n", number);
    fputs("no such thing", stderr); /* before what stdout still holds back, and without an end of line */
    return atoi(words[2]);
  }
  return 2;
}
