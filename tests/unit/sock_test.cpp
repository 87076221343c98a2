// SPDX-License-Identifier: Apache-2.0
// net/sock: a socket that TCP has connected to itself, which is no gateway.
#include "net/sock.h"

#include "tests/unit/testing.h"

namespace relay {
namespace {

TEST(Sock, KnowsAConnectionWithItself) {
  // Bound to a port of the ephemeral range and dialling it: what happens by chance if nobody listens there.
  const Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_storage storage{};
  socklen_t length = test::listen_place("127.0.0.1:0").addr.to_sockaddr(storage);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
  length = sizeof storage;
  ASSERT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length), 0);
  ASSERT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0) << "simultaneous open";
  const Addr own = Addr::from_sockaddr(storage, length);
  EXPECT_TRUE(connected_to_itself(fd.get(), own));
  const test::Ends ends = test::tcp_ends();
  sockaddr_storage peer{};
  length = sizeof peer;
  ASSERT_EQ(::getpeername(ends.ours.get(), reinterpret_cast<sockaddr*>(&peer), &length), 0);
  EXPECT_FALSE(connected_to_itself(ends.ours.get(), Addr::from_sockaddr(peer, length)));
  EXPECT_FALSE(connected_to_itself(-1, own));
}

}  // namespace
}  // namespace relay
