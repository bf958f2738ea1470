// Most of the standard library, and templates that are instantiated thousands deep.
#include <bits/stdc++.h>

template <int N> struct Tower {
	using Lower = Tower<N - 1>;
	std::tuple<std::array<int, N % 7 + 1>, std::optional<typename std::conditional<N % 2, int, std::string>::type>> own;
	Lower lower;
	template <class F> void each(F f) { f(std::integral_constant<int, N>{}, own); lower.each(f); }
};
template <> struct Tower<0> {
	template <class F> void each(F) {}
};

template <std::size_t... I> auto table(std::index_sequence<I...>) {
	return std::array<std::uint64_t, sizeof...(I)>{(I * I * 2654435761u % 1000003)...};
}

using Value = std::variant<std::monostate, int, double, std::string, std::vector<int>, std::map<std::string, int>>;
struct Show {
	std::string operator()(std::monostate) const { return "-"; }
	std::string operator()(int i) const { return std::to_string(i); }
	std::string operator()(double d) const { std::ostringstream o; o << std::setprecision(4) << d; return o.str(); }
	std::string operator()(const std::string &s) const { return std::regex_replace(s, std::regex("([a-z]+)([0-9]+)"), "$2$1"); }
	template <class C> std::string operator()(const C &c) const { return "[" + std::to_string(c.size()) + "]"; }
};

template <int... N> std::string combine(std::integer_sequence<int, N...>) {
	std::string all;
	auto one = [&](auto n) {
		std::map<std::array<int, decltype(n)::value % 16 + 2>, std::unordered_map<std::string, std::vector<double>>> m;
		for (int i = 0; i < 20; i++) m[{i % 5, n}][std::to_string(i * n)].push_back(i / 3.0);
		double sum = 0;
		for (auto &[k, v] : m) for (auto &[name, list] : v) sum += std::accumulate(list.begin(), list.end(), double(name.size() + k[0]));
		all += std::to_string(sum) + ";";
	};
	(one(std::integral_constant<int, N>{}), ...);
	return all;
}

int main() {
	Tower<DEPTH> tower{};
	std::size_t sum = 0;
	tower.each([&](auto n, auto &own) { std::get<0>(own)[0] = n; sum += std::get<0>(own).size() * n; });
	for (auto v : table(std::make_index_sequence<2000>{})) sum = sum * 31 + v;
	std::vector<Value> values{1, 2.5, std::string("abc123"), std::vector<int>(7), std::map<std::string, int>{{"a", 1}}, Value{}};
	for (auto &v : values) std::cout << std::visit(Show{}, v) << ' ';
	std::cout << sum << '\n' << combine(std::make_integer_sequence<int, COMBINATIONS>{}) << '\n';
}
