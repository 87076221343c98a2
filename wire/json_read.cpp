// SPDX-License-Identifier: Apache-2.0
// JSON read. The only file that knows RapidJSON.
#include "wire/json_read.h"

#define RAPIDJSON_NO_SIZETYPEDEFINE
#include <cstddef>
namespace rapidjson {
using SizeType = std::size_t;
}
#include <rapidjson/document.h>

namespace relay {
namespace {

const rapidjson::Value& value_of(const void* value) { return *static_cast<const rapidjson::Value*>(value); }

}  // namespace

struct JsonDocument::Tree {
  rapidjson::Document document;
};

JsonDocument::JsonDocument(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
JsonDocument::~JsonDocument() = default;

std::unique_ptr<JsonDocument> JsonDocument::parse(std::string_view text) {
  auto tree = std::make_unique<Tree>();
  tree->document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(text.data(), text.size());
  if (tree->document.HasParseError()) return nullptr;
  return std::unique_ptr<JsonDocument>(new JsonDocument(std::move(tree)));
}

JsonView JsonDocument::root() const { return JsonView(static_cast<const rapidjson::Value*>(&tree_->document)); }

JsonView JsonView::operator[](std::string_view key) const {
  if (value_ == nullptr || !value_of(value_).IsObject()) return {};
  const auto at = value_of(value_).FindMember(rapidjson::Value(rapidjson::StringRef(key.data(), key.size())));
  return at == value_of(value_).MemberEnd() ? JsonView() : JsonView(&at->value);
}

JsonView JsonView::operator[](size_t index) const {
  return index < size() ? JsonView(&value_of(value_)[index]) : JsonView();
}

bool JsonView::is_array() const { return value_ != nullptr && value_of(value_).IsArray(); }

bool JsonView::is_object() const { return value_ != nullptr && value_of(value_).IsObject(); }

bool JsonView::is_text() const { return value_ != nullptr && value_of(value_).IsString(); }

size_t JsonView::size() const { return is_array() ? value_of(value_).Size() : 0; }

size_t JsonView::members() const { return value_ != nullptr && value_of(value_).IsObject() ? value_of(value_).MemberCount() : 0; }

std::pair<std::string_view, JsonView> JsonView::member(size_t index) const {
  const auto at = value_of(value_).MemberBegin() + static_cast<std::ptrdiff_t>(index);
  return {{at->name.GetString(), at->name.GetStringLength()}, JsonView(&at->value)};
}

std::string_view JsonView::text() const {
  if (value_ == nullptr || !value_of(value_).IsString()) return {};
  return {value_of(value_).GetString(), value_of(value_).GetStringLength()};
}

std::optional<uint64_t> JsonView::number() const {
  return value_ != nullptr && value_of(value_).IsUint64() ? std::optional(value_of(value_).GetUint64()) : std::nullopt;
}

bool JsonView::flag() const { return value_ != nullptr && value_of(value_).IsBool() && value_of(value_).GetBool(); }

}  // namespace relay
