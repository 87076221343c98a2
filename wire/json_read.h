// SPDX-License-Identifier: Apache-2.0
// JSON (RFC 8259) read: a document, and views into it. The parsing is RapidJSON's, without recursion, so that no text can exhaust
// the stack. What is not there, or is of another type, reads as empty: a reader of somebody else's format asks for what it needs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace relay {

// Borrowed from its JsonDocument.
class JsonView {
 public:
  JsonView() = default;
  bool exists() const { return value_ != nullptr; }
  JsonView operator[](std::string_view key) const;  // of an object
  JsonView operator[](size_t index) const;          // of an array
  size_t size() const;                              // of an array
  bool is_array() const;
  bool is_object() const;
  bool is_text() const;
  std::string_view text() const;
  // The members of an object, in their order; its name and its value.
  size_t members() const;
  std::pair<std::string_view, JsonView> member(size_t index) const;  // REQUIRES: index < members()
  std::optional<uint64_t> number() const;           // an integer that is not negative
  bool flag() const;

 private:
  friend class JsonDocument;
  explicit JsonView(const void* value) : value_(value) {}
  const void* value_ = nullptr;
};

class JsonDocument {
 public:
  ~JsonDocument();
  // nullptr: `text` is no JSON.
  static std::unique_ptr<JsonDocument> parse(std::string_view text);
  JsonView root() const;

 private:
  struct Tree;
  explicit JsonDocument(std::unique_ptr<Tree> tree);
  std::unique_ptr<Tree> tree_;
};

}  // namespace relay
