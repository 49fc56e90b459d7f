#include "functions/builtin/detail/numbers.hpp"
#include "functions/builtin/detail/support.hpp"

#include <algorithm>

/// Text from a recogniser's frames by connectionist temporal classification (Graves et al. 2006), greedy: the best
/// class of each frame, without repeats and without blanks.
namespace squall::functions::builtins::detail {

namespace {

/// Class 0 is the blank, then come the lines of the dictionary, and the last class is the space.
class alphabet {
public:
  explicit alphabet(shared_bytes lines) : content_(std::move(lines)) {
    auto rest = content_.text();
    while (!rest.empty()) {
      // Only the newline separates: some dictionaries have an entry that is a space of its own.
      const auto end = std::min(rest.find('\n'), rest.size());
      characters_.push_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    characters_.push_back(" ");
  }

  [[nodiscard]] std::size_t classes() const { return characters_.size() + 1; }
  /// `index` is in [1, classes()).
  [[nodiscard]] std::string_view character(std::size_t index) const { return characters_[index - 1]; }

private:
  shared_bytes content_;
  std::vector<std::string_view> characters_;
};

/// Collects the best classes of one line's frames.
class line_of_text {
public:
  explicit line_of_text(const alphabet& letters) : letters_(letters) {}

  void add(std::size_t index, float probability) {
    if (index != 0 && index != previous_) {
      text_ += letters_.character(index);
      sum_ += probability;
      ++kept_;
    }
    previous_ = index;
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  /// The mean probability of the frames that gave a character; 0 for an empty text.
  [[nodiscard]] float confidence() const { return kept_ == 0 ? 0 : static_cast<float>(sum_ / kept_); }

private:
  const alphabet& letters_;
  std::string text_;
  std::size_t previous_ = 0;
  double sum_ = 0;
  int kept_ = 0;
};

/// Decodes `lines` lines of `frames` frames; best(line, frame) is the best class of a frame, checked to be one.
template <class Best>
outputs decode(const alphabet& letters, std::size_t lines, std::size_t frames, const Best& best) {
  std::vector<std::string> texts;
  buffer<float> confidences{lines};
  for (std::size_t n = 0; n < lines; ++n) {
    line_of_text line{letters};
    for (std::size_t t = 0; t < frames; ++t) {
      const peak p = best(n, t);
      line.add(p.index, p.value);
    }
    confidences[n] = line.confidence();
    texts.push_back(line.text());
  }
  const std::vector<std::string_view> views{texts.begin(), texts.end()};
  return std::vector{value{bytes_tensor(views)},
                     std::move(confidences).done(datatype::fp32, {static_cast<std::int64_t>(lines)})};
}

outputs decode_probabilities(const alphabet& letters, const tensor& t) {
  const auto lines = static_cast<std::size_t>(t.shape[0]);
  const auto frames = static_cast<std::size_t>(t.shape[1]);
  const auto classes = static_cast<std::size_t>(t.shape[2]);
  if (classes != letters.classes())
    return invalid("input 'probs' has " + std::to_string(classes) + " classes, but the dictionary's " +
                   std::to_string(letters.classes() - 2) + " lines, the blank and the space make " +
                   std::to_string(letters.classes()) + "; use the dictionary of the model");
  const auto numbers = elements_of<float>(t);
  return decode(letters, lines, frames, [&](std::size_t n, std::size_t f) {
    return peak_of(numbers.subspan((n * frames + f) * classes, classes));
  });
}

outputs decode_indices(const alphabet& letters, const tensor& indices, const tensor& maxima) {
  if (indices.shape != maxima.shape)
    return invalid("input 'indices' is " + to_string(indices.shape) + ", but 'maxima' is " + to_string(maxima.shape));
  const auto index = elements_of<std::int32_t>(indices);
  const auto maximum = elements_of<float>(maxima);
  const auto wrong = std::find_if(index.begin(), index.end(), [&](std::int32_t i) {
    return i < 0 || static_cast<std::size_t>(i) >= letters.classes();
  });
  if (wrong != index.end())
    return invalid("input 'indices' has the class " + std::to_string(*wrong) +
                   ", but the dictionary, the blank and the space make " + std::to_string(letters.classes()) +
                   "; use the dictionary of the model");
  const auto frames = static_cast<std::size_t>(indices.shape[1]);
  return decode(letters, static_cast<std::size_t>(indices.shape[0]), frames, [&](std::size_t n, std::size_t f) {
    return peak{static_cast<std::size_t>(index[n * frames + f]), maximum[n * frames + f]};
  });
}

result<std::unique_ptr<instance>> make_decode(const settings& s) {
  return instance_of([letters = alphabet{s.resource("dictionary")}](std::span<const value> inputs, const run_context&) {
    return decode_probabilities(letters, as_tensor(inputs[0]));
  });
}

result<std::unique_ptr<instance>> make_collapse(const settings& s) {
  return instance_of([letters = alphabet{s.resource("dictionary")}](std::span<const value> inputs, const run_context&) {
    return decode_indices(letters, as_tensor(inputs[0]), as_tensor(inputs[1]));
  });
}

} // namespace

std::vector<builtin> ctc_builtins() {
  const std::vector<port> texts = {{"text", datatype::bytes, {-1}}, {"confidence", datatype::fp32, {-1}}};
  const parameter dictionary{
      "dictionary", parameter_kind::resource, std::nullopt,
      "the characters of the model's classes from 1 on, one a line; 0 is the blank, the last class the space"};
  return {
      {.name = "ctc-decode",
       .summary = "texts from the probabilities [lines, frames, classes] of a recogniser; confidence is the mean "
                  "probability of the "
                  "characters",
       .inputs = {{"probs", datatype::fp32, {-1, -1, -1}}},
       .outputs = texts,
       .parameters = {dictionary},
       .light = true,
       .make = make_decode},
      {.name = "ctc-collapse",
       .summary = "as ctc-decode, from the best class of each frame and its probability: for models that find them in "
                  "their graph",
       .inputs = {{"indices", datatype::int32, {-1, -1}}, {"maxima", datatype::fp32, {-1, -1}}},
       .outputs = texts,
       .parameters = {dictionary},
       .light = true,
       .make = make_collapse},
  };
}

} // namespace squall::functions::builtins::detail
