#include "functions/builtin/detail/support.hpp"
#include "functions/detail/text.hpp"

#include <magic.h>

#include <algorithm>
#include <charconv>
#include <map>

/// What kind of file some bytes are.
namespace squall::functions::builtins::detail {

namespace {

// -- magika's features
// ---------------------------------------------------------------------------------------------------

constexpr std::size_t block = 4096; ///< bytes looked at on either end
constexpr std::size_t kept = 1024;  ///< bytes kept of each, after white space is stripped
constexpr std::int32_t padding = 256;

/// What Python's bytes.strip() takes away.
constexpr std::string_view white_space{" \t\n\r\v\f"};

/// https://github.com/google/magika, model standard_v3_3.
outputs file_features(std::span<const value> inputs) {
  SQUALL_ASSIGN(file, only_bytes(inputs[0]));
  auto head = file.substr(0, block);
  head.remove_prefix(std::min(head.find_first_not_of(white_space), head.size()));
  head = head.substr(0, kept);
  auto tail = file.substr(file.size() - std::min(file.size(), block));
  tail = tail.substr(0, tail.find_last_not_of(white_space) + 1); // none found: npos + 1 is 0
  tail = tail.substr(tail.size() - std::min(tail.size(), kept));
  buffer<std::int32_t> out{2 * kept};
  std::fill_n(out.data(), 2 * kept, padding);
  const auto widen = [](char c) { return static_cast<std::int32_t>(static_cast<unsigned char>(c)); };
  std::transform(head.begin(), head.end(), out.data(), widen);
  std::transform(tail.begin(), tail.end(), out.data() + 2 * kept - tail.size(), widen);
  return std::vector{std::move(out).done(datatype::int32, {1, 2 * kept})};
}

// -- libmagic
// ------------------------------------------------------------------------------------------------------------

/// What a MIME type is worth: the label to answer with, and how often it is right.
struct trust {
  std::string label;
  float score = 1;
};

/// Lines of "MIME-type [label [score]]".
result<std::map<std::string, trust, std::less<>>> read_trusted(std::string_view content) {
  std::map<std::string, trust, std::less<>> trusted;
  for (std::size_t line = 1; !content.empty(); ++line) {
    auto rest = content.substr(0, std::min(content.find('\n'), content.size()));
    content.remove_prefix(std::min(rest.size() + 1, content.size()));
    std::vector<std::string_view> words;
    while (rest.find_first_not_of(" \t\r") != std::string_view::npos) {
      rest.remove_prefix(rest.find_first_not_of(" \t\r"));
      words.push_back(rest.substr(0, rest.find_first_of(" \t\r")));
      rest.remove_prefix(words.back().size());
    }
    if (words.empty())
      continue;
    const auto where = "parameter 'trusted', line " + std::to_string(line) + ": ";
    if (words.size() > 3)
      return invalid(where + "more than a MIME type, a label and a score");
    trust t{std::string{words.size() > 1 ? words[1] : words[0]}, 1};
    if (words.size() == 3) {
      const auto [end, problem] = std::from_chars(words[2].data(), words[2].data() + words[2].size(), t.score);
      if (problem != std::errc{} || end != words[2].data() + words[2].size() || !(t.score >= 0 && t.score <= 1))
        return invalid(where + functions::detail::quoted(words[2]) + " is not a score from 0 to 1");
    }
    trusted.insert_or_assign(std::string{words[0]}, std::move(t));
  }
  return trusted;
}

struct close_magic {
  void operator()(magic_set* m) const { magic_close(m); }
};
using magic_handle = std::unique_ptr<magic_set, close_magic>;

result<magic_handle> open_magic() {
  magic_handle handle{magic_open(MAGIC_MIME_TYPE)};
  if (!handle)
    return {errc::failed, "libmagic cannot be opened"};
  if (magic_load(handle.get(), nullptr) != 0)
    return {errc::unavailable, std::string{"libmagic has no database: "} + magic_error(handle.get()) +
                                   "; install the Debian package libmagic-mgc"};
  return handle;
}

result<std::unique_ptr<instance>> make_file_magic(const settings& s) {
  SQUALL_ASSIGN(trusted, read_trusted(s.resource("trusted").text()));
  SQUALL_ASSIGN(handle, open_magic());
  return instance_of([trusted = std::move(trusted), handle = std::move(handle)](std::span<const value> inputs,
                                                                                const run_context&) -> outputs {
    SQUALL_ASSIGN(file, only_bytes(inputs[0]));
    const char* type = magic_buffer(handle.get(), file.data(), file.size());
    if (!type)
      return {errc::failed, std::string{"libmagic: "} + magic_error(handle.get())};
    const std::string mime = type; // libmagic reuses its memory
    const auto found = trusted.find(mime);
    const bool known = found != trusted.end();
    return std::vector{scalar_value(std::string_view{known ? found->second.label : mime}), scalar_value(known),
                       one(datatype::fp32, known ? found->second.score : 0.0F), scalar_value(std::string_view{mime})};
  });
}

} // namespace

std::vector<builtin> file_builtins() {
  const port data{"data", datatype::bytes, {1}};
  return {
      {.name = "file-features",
       .summary = "the first and the last bytes of a file, as magika's model wants them",
       .inputs = {data},
       .outputs = {{"bytes", datatype::int32, {1, 2 * kept}}},
       .parameters = {},
       .light = true,
       .make = make_plain<file_features>},
      {.name = "file-magic",
       .summary = "the type of a file by libmagic: the label and score of a trusted type, else its MIME type and 0",
       .inputs = {data},
       .outputs = {{"label", datatype::bytes, {1}},
                   {"trusted", datatype::boolean, {1}},
                   {"score", datatype::fp32, {1}},
                   {"mime", datatype::bytes, {1}}},
       .parameters = {{"trusted", parameter_kind::resource, "inline:",
                       "the types to trust, one a line: the MIME type, then the label to answer with and its score, if "
                       "they differ from "
                       "the type and 1"}},
       .foreign_bytes = true,
       .make = make_file_magic},
  };
}

} // namespace squall::functions::builtins::detail
