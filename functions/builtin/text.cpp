#include "functions/detail/text.hpp"

#include "functions/builtin/detail/pictures.hpp"
#include "functions/builtin/detail/support.hpp"

#include <algorithm>
#include <map>

namespace squall::functions::builtins::detail {

namespace {

using functions::detail::quoted;

constexpr std::size_t most_members = 4;

std::vector<std::string> lines_of(std::string_view content) {
  std::vector<std::string> lines;
  while (!content.empty()) {
    const auto end = std::min(content.find('\n'), content.size());
    lines.emplace_back(content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
  }
  return lines;
}

result<std::unique_ptr<instance>> make_label(const settings& s) {
  return instance_of(
      [labels = lines_of(s.resource("labels").text())](std::span<const value> inputs, const run_context&) -> outputs {
        std::vector<std::string_view> names;
        for (const auto index : elements_of<std::int32_t>(as_tensor(inputs[0]))) {
          if (index < 0 || static_cast<std::size_t>(index) >= labels.size())
            return invalid("input 'index' has " + std::to_string(index) + ", but there are " +
                           std::to_string(labels.size()) + " labels; use the labels of the model");
          names.push_back(labels[static_cast<std::size_t>(index)]);
        }
        return std::vector{value{bytes_tensor(names)}};
      });
}

/// One voter: its texts, and how sure it is of each.
struct member {
  std::vector<std::string_view> texts;
  std::vector<float> confidences;
};

/// `text` and `confidence` are the inputs of member `number`, counted from 1. Without confidences every text weighs 1.
result<member> member_of(const value& text, const value& confidence, std::size_t number) {
  member m;
  SQUALL_ASSIGN(texts, bytes_elements(as_tensor(text)));
  m.texts = std::move(texts);
  if (confidence.absent()) {
    m.confidences.assign(m.texts.size(), 1.0F);
    return m;
  }
  const auto numbers = elements_of<float>(as_tensor(confidence));
  if (numbers.size() != m.texts.size())
    return invalid("input 'text" + std::to_string(number) + "' has " + std::to_string(m.texts.size()) +
                   " texts, but 'confidence" + std::to_string(number) + "' has " + std::to_string(numbers.size()) +
                   " numbers");
  m.confidences.assign(numbers.begin(), numbers.end());
  return m;
}

struct verdict {
  std::string_view text;
  float confidence = 0;
};

/// The text with the most confidence behind it; ties go to the one that an earlier member gave.
verdict vote_on(const std::vector<member>& members, std::size_t element) {
  struct tally {
    double weight = 0;
    int votes = 0;
  };
  std::map<std::string_view, tally> tallies;
  for (const auto& m : members) {
    auto& t = tallies[m.texts[element]];
    t.weight += m.confidences[element];
    ++t.votes;
  }
  std::string_view best = members.front().texts[element];
  for (const auto& m : members)
    if (tallies[m.texts[element]].weight > tallies[best].weight)
      best = m.texts[element];
  return {best, static_cast<float>(tallies[best].weight / tallies[best].votes)};
}

outputs vote(std::span<const value> inputs) {
  std::vector<member> members;
  for (std::size_t i = 0; i < most_members; ++i) {
    const auto& text = inputs[2 * i];
    if (text.absent())
      continue;
    SQUALL_ASSIGN(m, member_of(text, inputs[2 * i + 1], i + 1));
    members.push_back(std::move(m));
    if (members.back().texts.size() != members.front().texts.size())
      return invalid("members have " + std::to_string(members.front().texts.size()) + " and " +
                     std::to_string(members.back().texts.size()) + " texts; all must have as many");
  }
  if (members.empty())
    return invalid("none of the inputs text1 to text4 is present");
  const auto count = members.front().texts.size();
  std::vector<std::string_view> texts;
  buffer<float> confidences{count};
  for (std::size_t i = 0; i < count; ++i) {
    const auto chosen = vote_on(members, i);
    texts.push_back(chosen.text);
    confidences[i] = chosen.confidence;
  }
  return std::vector{value{bytes_tensor(texts)},
                     std::move(confidences).done(datatype::fp32, {static_cast<std::int64_t>(count)}),
                     one(datatype::int32, static_cast<std::int32_t>(members.size()))};
}

/// Texts in reading order as one text. With quads, texts on one line are joined by a space, else each has a line of its
/// own.
outputs merge_text(std::span<const value> inputs) {
  const auto& texts = as_list(inputs[0]);
  std::vector<quad> quads;
  if (!inputs[1].absent()) {
    SQUALL_ASSIGN(read, quads_in(as_tensor(inputs[1])));
    quads = std::move(read);
    if (quads.size() != texts.size())
      return invalid("there are " + std::to_string(texts.size()) + " texts, but " + std::to_string(quads.size()) +
                     " quads");
  }
  std::string merged;
  std::optional<std::size_t> previous; // the last one that had text
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].absent())
      continue;
    SQUALL_ASSIGN(elements, bytes_elements(as_tensor(texts[i])));
    for (const auto element : elements) {
      if (element.empty())
        continue;
      if (previous)
        merged += !quads.empty() && same_line(quads[*previous], quads[i]) ? ' ' : '\n';
      merged += element;
      previous = i;
    }
  }
  return std::vector{scalar_value(std::string_view{merged})};
}

std::vector<port> voters() {
  std::vector<port> ports;
  for (std::size_t i = 1; i <= most_members; ++i) {
    ports.push_back({"text" + std::to_string(i), datatype::bytes, {-1}, false, true});
    ports.push_back({"confidence" + std::to_string(i), datatype::fp32, {-1}, false, true});
  }
  return ports;
}

} // namespace

std::vector<builtin> text_builtins() {
  return {
      {.name = "label",
       .summary = "the names of classes",
       .inputs = {{"index", datatype::int32, {-1}}},
       .outputs = {{"label", datatype::bytes, {-1}}},
       .parameters = {{"labels", parameter_kind::resource, std::nullopt,
                       "the names of the classes from 0 on, one a line"}},
       .light = true,
       .make = make_label},
      {.name = "vote",
       .summary = "the text that up to four members agree on, each weighing as much as it is sure; ties go to the "
                  "first. confidence is the "
                  "mean of those who gave it, members how many were present",
       .inputs = voters(),
       .outputs = {{"text", datatype::bytes, {-1}},
                   {"confidence", datatype::fp32, {-1}},
                   {"members", datatype::int32, {1}}},
       .parameters = {},
       .light = true,
       .make = make_plain<vote>},
      {.name = "merge-text",
       .summary = "one text of many in reading order, with line breaks where the quads say so, else after each",
       .inputs = {{"texts", datatype::bytes, {-1}, true}, {"quads", datatype::fp32, {-1, 4, 2}, false, true}},
       .outputs = {{"text", datatype::bytes, {1}}},
       .parameters = {},
       .light = true,
       .make = make_plain<merge_text>},
  };
}

} // namespace squall::functions::builtins::detail
