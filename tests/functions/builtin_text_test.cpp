#include "running.hpp"

namespace squall::functions::builtins {
namespace {

using namespace testing;

/// Classes: 0 blank, 1 a, 2 b, 3 c, 4 space.
const parameter_map abc = {{"dictionary", "inline:a\nb\nc\n"}};

/// Probabilities in which class `best` of each frame has `p` and the others nothing.
value frames(const std::vector<std::pair<int, float>>& best) {
  std::vector<float> numbers(best.size() * 5);
  for (std::size_t t = 0; t < best.size(); ++t)
    numbers[t * 5 + static_cast<std::size_t>(best[t].first)] = best[t].second;
  return floats({1, static_cast<std::int64_t>(best.size()), 5}, numbers);
}

TEST(CtcDecode, DropsRepeatsAndBlanks) {
  const auto out = outputs_of(
      "ctc-decode", {frames({{1, 0.5F}, {1, 0.9F}, {0, 1}, {1, 0.7F}, {4, 0.9F}, {2, 0.8F}, {3, 1}, {0, 1}})}, abc);
  EXPECT_EQ(all_texts(out[0]), (std::vector<std::string>{"aa bc"}));
  EXPECT_FLOAT_EQ(numbers(out[1])[0], (0.5F + 0.7F + 0.9F + 0.8F + 1) / 5) << "the first frame of a repeat counts";
}

TEST(CtcDecode, OfBlanksIsEmptyWithoutConfidence) {
  const auto out = outputs_of("ctc-decode", {frames({{0, 1}, {0, 1}})}, abc);
  EXPECT_EQ(text(out[0]), "");
  EXPECT_EQ(numbers(out[1])[0], 0);
  EXPECT_TRUE(all_texts(outputs_of("ctc-decode", {floats({0, 3, 5}, {})}, abc)[0]).empty());
  EXPECT_EQ(text(outputs_of("ctc-decode", {floats({1, 0, 5}, {})}, abc)[0]), "");
}

TEST(CtcDecode, TakesEveryLineOfTheDictionaryAsItIs) {
  // U+3000 is a space of its own, and the last line needs no newline.
  const parameter_map wide = {{"dictionary", "inline:\xe3\x80\x80\nx\n\xc3\xa4"}};
  const auto out = outputs_of("ctc-decode", {frames({{1, 1}, {3, 1}, {4, 1}, {2, 1}})}, wide);
  EXPECT_EQ(text(out[0]), "\xe3\x80\x80\xc3\xa4 x");
}

TEST(CtcDecode, RefusesTheDictionaryOfAnotherModel) {
  EXPECT_EQ(message(run("ctc-decode", {floats({1, 1, 6}, std::vector<float>(6))}, abc)),
            "builtin 'ctc-decode': input 'probs' has 6 classes, but the dictionary's 3 lines, the blank and the space "
            "make 5; use the "
            "dictionary of the model");
}

TEST(CtcCollapse, AgreesWithDecoding) {
  const auto probs = frames({{1, 0.5F}, {1, 0.9F}, {0, 1}, {4, 0.7F}, {2, 0.9F}});
  const auto reduced = outputs_of("argmax", {probs});
  EXPECT_EQ(outputs_of("ctc-collapse", {reduced[0], reduced[1]}, abc), outputs_of("ctc-decode", {probs}, abc));
}

TEST(CtcCollapse, RefusesClassesThatAreNotThere) {
  EXPECT_EQ(message(run("ctc-collapse", {ints({1, 2}, {1, 5}), floats({1, 2}, {1, 1})}, abc)),
            "builtin 'ctc-collapse': input 'indices' has the class 5, but the dictionary, the blank and the space make "
            "5; use the "
            "dictionary of the model");
  EXPECT_FALSE(run("ctc-collapse", {ints({1, 1}, {-1}), floats({1, 1}, {1})}, abc).ok());
  EXPECT_EQ(message(run("ctc-collapse", {ints({1, 2}, {1, 2}), floats({2, 1}, {1, 1})}, abc)),
            "builtin 'ctc-collapse': input 'indices' is [1,2], but 'maxima' is [2,1]");
}

TEST(Label, NamesClasses) {
  const parameter_map labels = {{"labels", "inline:cat\ndog"}};
  EXPECT_EQ(all_texts(outputs_of("label", {ints({2}, {1, 0})}, labels)[0]), (std::vector<std::string>{"dog", "cat"}));
  EXPECT_EQ(message(run("label", {ints({1}, {2})}, labels)),
            "builtin 'label': input 'index' has 2, but there are 2 labels; use the labels of the model");
}

struct vote_outcome {
  std::string text;
  float confidence;
  int members;
};

vote_outcome vote(std::vector<value> inputs) {
  const auto out = outputs_of("vote", std::move(inputs));
  return {text(out[0]), numbers(out[1])[0], numbers<std::int32_t>(out[2])[0]};
}

TEST(Vote, WeighsByConfidence) {
  const auto agreed =
      vote({texts({"a"}), floats({1}, {0.9F}), texts({"b"}), floats({1}, {0.5F}), texts({"b"}), floats({1}, {0.6F})});
  EXPECT_EQ(agreed.text, "b");
  EXPECT_FLOAT_EQ(agreed.confidence, 0.55F);
  EXPECT_EQ(agreed.members, 3);
  EXPECT_EQ(vote({texts({"a"}), floats({1}, {0.9F}), texts({"b"}), floats({1}, {0.3F})}).text, "a");
}

TEST(Vote, TiesGoToTheFirstMember) {
  EXPECT_EQ(vote({texts({"b"}), floats({1}, {0.5F}), texts({"a"}), floats({1}, {0.5F})}).text, "b");
}

TEST(Vote, CountsTheMembersThatArePresent) {
  const auto late = vote({{}, {}, texts({"x"}), floats({1}, {0.7F})});
  EXPECT_EQ(late.text, "x");
  EXPECT_EQ(late.members, 1);
  EXPECT_EQ(vote({texts({"a"}), {}, texts({"b"}), {}, texts({"b"})}).text, "b") << "without confidences the majority";
  EXPECT_EQ(message(run("vote", {})), "builtin 'vote': none of the inputs text1 to text4 is present");
}

TEST(Vote, RefusesMembersThatDoNotMatch) {
  EXPECT_EQ(message(run("vote", {texts({"a", "b"}), {}, texts({"a"})})),
            "builtin 'vote': members have 2 and 1 texts; all must have as many");
  EXPECT_EQ(message(run("vote", {texts({"a", "b"}), floats({1}, {1})})),
            "builtin 'vote': input 'text1' has 2 texts, but 'confidence1' has 1 numbers");
}

TEST(MergeText, PutsTextsOfOneLineTogether) {
  const value list{value_list{texts({"Hello"}), texts({"world"}), texts({""}), {}, texts({"again"})}};
  const auto boxes = quads({corners(0, 0, 50, 20), corners(60, 3, 100, 23), corners(0, 30, 9, 50),
                            corners(0, 60, 9, 80), corners(0, 90, 50, 110)});
  EXPECT_EQ(text(outputs_of("merge-text", {list, boxes})[0]), "Hello world\nagain");
  EXPECT_EQ(text(outputs_of("merge-text", {list})[0]), "Hello\nworld\nagain");
  EXPECT_EQ(text(outputs_of("merge-text", {{value_list{}}})[0]), "");
  EXPECT_EQ(message(run("merge-text", {list, quads({})})), "builtin 'merge-text': there are 5 texts, but 0 quads");
}

TEST(MergeText, ReadsAPageThatWasUpsideDown) {
  const auto boxes = quads({corners(0, 90, 50, 110), corners(60, 3, 100, 23), corners(0, 0, 50, 20)});
  EXPECT_EQ(text(outputs_of("merge-text", {{value_list{texts({"one"}), texts({"two"}), texts({"three"})}}, boxes})[0]),
            "one\ntwo three");
}

} // namespace
} // namespace squall::functions::builtins
