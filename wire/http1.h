// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 messages (RFC 9112), bytes in, values out: a reader for requests or responses, and the few words that we write. The
// parsing proper is http-parser's. Every length has a cap; it owns no socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/status.h"

namespace relay {

struct HttpLimits {
  size_t head = 8 * 1024;   // start line and headers, as counted by what is kept of them
  size_t body = 64 * 1024;
};

struct HttpMessage {
  std::string method;  // of a request: "GET"
  std::string target;  // of a request: "/status?connections=5"
  int status = 0;      // of a response
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case; of two of a name the values are joined by ", "
  std::string body;
  bool keep_alive = false;
  bool chunks = false;  // its sender knows them: HTTP/1.1

  // The value of a header, given in lower case, or nothing.
  std::optional<std::string_view> header(std::string_view name) const;
};

class HttpReader {
 public:
  enum class Side : uint8_t { kRequests, kResponses };

  explicit HttpReader(Side side, HttpLimits limits = {});
  ~HttpReader();

  // Takes bytes up to the end of a message; returns how many. Then done(), and message() is whole until next(). kLimit: the message
  // is longer than allowed; kInvalid: it is no HTTP. Nothing more can be read after either.
  Result<size_t> feed(std::span<const std::byte> bytes);
  // The peer has finished: ends a response that has no length of its own. kInvalid: in the middle of a message.
  Status finish();
  bool done() const;
  bool begun() const;  // something of a message that is not done yet has come
  bool in_body() const;  // its head is over
  HttpMessage& message();
  void next();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// "/status?connections=5" in its parts: path "/status", and each name with its value, %XX and + resolved. A bad escape is kept
// as it is.
struct HttpTarget {
  std::string path;
  std::map<std::string, std::string, std::less<>> query;
  static HttpTarget parse(std::string_view target);
};

// "HTTP/1.1 200 OK" and the headers that say what follows. Without `length` the body comes in chunks, or, for who does not know
// those, up to the end of the connection.
std::string http_response_head(int status, std::string_view type, std::optional<size_t> length, bool keep_alive, std::string_view extra = {},
                               bool chunks = true);
// One chunk; an empty one ends the body.
void http_append_chunk(std::string& out, std::string_view data);
std::string_view http_reason(int status);

}  // namespace relay
