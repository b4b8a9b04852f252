#ifndef OCIMOUNT_TEST_FUSE_CHILD_H_
#define OCIMOUNT_TEST_FUSE_CHILD_H_

#include <string>
#include <vector>

namespace ocimount::test {

/** Runs a subcommand; gives the exit status. */
int RunChild(const std::vector<std::string>& arguments);

}  // namespace ocimount::test

#endif  // OCIMOUNT_TEST_FUSE_CHILD_H_
