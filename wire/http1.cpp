// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1: http-parser's callbacks made into values. The only file that knows http-parser.
#include "wire/http1.h"

#include <http_parser.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace relay {

std::optional<std::string_view> HttpMessage::header(std::string_view name) const {
  const auto at = headers.find(name);
  return at == headers.end() ? std::nullopt : std::optional<std::string_view>(at->second);
}

struct HttpReader::Parser {
  http_parser state{};
  HttpLimits limits;
  Side side;
  HttpMessage message;
  std::string name;   // the header that is being read
  std::string value;
  size_t head = 0;    // bytes of it so far
  bool value_begun = false;
  bool begun = false;
  bool done = false;
  bool head_done = false;
  bool too_long = false;
  bool bad = false;

  static Parser& of(http_parser* parser) { return *static_cast<Parser*>(parser->data); }

  // Counts, and says to http-parser whether it was too much.
  int keep(std::string& to, const char* at, size_t length, size_t& used, size_t most) {
    used += length;
    if (used > most) {
      too_long = true;
      return 1;
    }
    to.append(at, length);
    return 0;
  }

  void end_header() {
    if (name.empty()) return;
    bad = bad || name.find(' ') != std::string::npos;  // http-parser lets it pass; two readers may then see two things
    auto [at, is_new] = message.headers.emplace(std::move(name), value);
    if (!is_new) at->second += ", " + value;
    name.clear();
    value.clear();
    value_begun = false;
  }

  static constexpr int kRefuse = -1;  // of on_headers_complete: neither 0, 1 nor 2 has a meaning of failure there
  static const http_parser_settings& settings() {
    static const http_parser_settings kSettings = [] {
      http_parser_settings s{};
      s.on_message_begin = [](http_parser* p) {
        of(p).begun = true;
        return 0;
      };
      s.on_url = [](http_parser* p, const char* at, size_t n) {
        return of(p).keep(of(p).message.target, at, n, of(p).head, of(p).limits.head);
      };
      s.on_header_field = [](http_parser* p, const char* at, size_t n) {
        Parser& self = of(p);
        if (self.value_begun) self.end_header();
        const size_t before = self.name.size();
        if (self.keep(self.name, at, n, self.head, self.limits.head) != 0) return 1;
        for (size_t i = before; i < self.name.size(); ++i) self.name[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(self.name[i])));
        return 0;
      };
      s.on_header_value = [](http_parser* p, const char* at, size_t n) {
        of(p).value_begun = true;
        return of(p).keep(of(p).value, at, n, of(p).head, of(p).limits.head);
      };
      s.on_headers_complete = [](http_parser* p) {
        of(p).end_header();
        of(p).head_done = true;
        of(p).bad = of(p).bad || p->http_major > 1;
        return of(p).bad ? kRefuse : 0;
      };
      s.on_body = [](http_parser* p, const char* at, size_t n) {
        size_t used = of(p).message.body.size();
        return of(p).keep(of(p).message.body, at, n, used, of(p).limits.body);
      };
      s.on_message_complete = [](http_parser* p) {
        Parser& self = of(p);
        self.done = true;
        if (self.side == Side::kRequests) self.message.method = http_method_str(static_cast<http_method>(p->method));
        else self.message.status = static_cast<int>(p->status_code);
        self.message.keep_alive = http_should_keep_alive(p) != 0;
        self.message.chunks = p->http_major == 1 && p->http_minor > 0;
        http_parser_pause(p, 1);  // what follows is the next message's
        return 0;
      };
      return s;
    }();
    return kSettings;
  }
};

HttpReader::HttpReader(Side side, HttpLimits limits) : parser_(std::make_unique<Parser>()) {
  parser_->limits = limits;
  parser_->side = side;
  next();
}

HttpReader::~HttpReader() = default;

void HttpReader::next() {
  Parser& parser = *parser_;
  http_parser_init(&parser.state, parser.side == Side::kRequests ? HTTP_REQUEST : HTTP_RESPONSE);
  parser.state.data = &parser;
  parser.message = {};
  parser.name.clear();
  parser.value.clear();
  parser.head = 0;
  parser.value_begun = parser.begun = parser.done = parser.head_done = parser.too_long = parser.bad = false;
}

Result<size_t> HttpReader::feed(std::span<const std::byte> bytes) {
  Parser& parser = *parser_;
  if (parser.done || bytes.empty()) return size_t{0};
  const size_t n = http_parser_execute(&parser.state, &Parser::settings(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const http_errno error = HTTP_PARSER_ERRNO(&parser.state);
  if (parser.too_long || error == HPE_HEADER_OVERFLOW) return Status{Code::kLimit, parser.head_done ? "the body is too long" : "the head is too long"};
  if (parser.bad) return Status{Code::kInvalid, "the head is malformed"};
  if (error != HPE_OK && error != HPE_PAUSED) return Status{Code::kInvalid, http_errno_description(error)};
  return n;
}

Status HttpReader::finish() {
  Parser& parser = *parser_;
  if (parser.done || !parser.begun) return {};
  http_parser_execute(&parser.state, &Parser::settings(), nullptr, 0);
  return parser.done ? Status{} : Status{Code::kInvalid, "the message is not complete"};
}

bool HttpReader::done() const { return parser_->done; }
bool HttpReader::begun() const { return parser_->begun && !parser_->done; }
bool HttpReader::in_body() const { return parser_->head_done && !parser_->done; }
HttpMessage& HttpReader::message() { return parser_->message; }

// ---- the target

namespace {

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() &&
               std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

HttpTarget HttpTarget::parse(std::string_view target) {
  HttpTarget out;
  const size_t mark = target.find('?');
  out.path = unescape(target.substr(0, mark));
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const size_t equals = pair.find('=');
    if (!pair.empty()) out.query[unescape(pair.substr(0, equals))] = equals == std::string_view::npos ? "" : unescape(pair.substr(equals + 1));
  }
  return out;
}

// ---- what we write

std::string_view http_reason(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Unknown";
  }
}

std::string http_response_head(int status, std::string_view type, std::optional<size_t> length, bool keep_alive, std::string_view extra,
                               bool chunks) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + ' ';
  out.append(http_reason(status)).append("\r\nContent-Type: ").append(type);
  if (length) out += "\r\nContent-Length: " + std::to_string(*length);
  else if (chunks) out += "\r\nTransfer-Encoding: chunked";
  out += keep_alive ? "\r\n" : "\r\nConnection: close\r\n";
  return out.append("Cache-Control: no-store\r\n").append(extra).append("\r\n");
}

void http_append_chunk(std::string& out, std::string_view data) {
  std::array<char, 16> size{};
  const char* const end = std::to_chars(size.data(), size.data() + size.size(), data.size(), 16).ptr;
  out.append(size.data(), static_cast<size_t>(end - size.data())).append("\r\n").append(data).append("\r\n");
}

}  // namespace relay
