// `fuse_test DIRECTORY [WORD]`: runs the tests whose name has the word. `fuse_test measure FILE`: throughput. See run-fuse.

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

#include "fuse_child.h"
#include "fuse_fixture.h"
#include "fuse_tests.h"

int main(int argc, char** argv) {
  using namespace ocimount::test;
  std::string command = argc > 1 ? argv[1] : "";
  if (command == "child" && argc > 3) return RunChild({argv + 2, argv + argc});
  if (command.empty()) return 2;
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  program.assign(path, static_cast<size_t>(length));
  if (command == "measure" && argc > 2) {
    Measure(argv[2]);
    return 0;
  }
  data_directory = command;
  std::string word = argc > 2 ? argv[2] : "";
  for (const auto* tests : {&kProtocolTests, &kTreeTests, &kMissTests}) {
    for (const TestCase& test : *tests) {
      if (std::strstr(test.name, word.c_str()) == nullptr) continue;
      int before = failures;
      test.run();
      std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", test.name);
      std::fflush(stdout);
    }
  }
  return failures == 0 ? 0 : 1;
}
