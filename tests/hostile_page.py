"""A page of names that look like Markdown, HTML and more, run by `streamlit run`."""

import plotly.graph_objects as go
import streamlit as st

from pages.parts.markdown import chart_text, harmless, plain

TEXTS = (
    "<img src=x onerror=ran=1> <script>ran=1</script> <b>b</b> &lt;i&gt; &#58;streamlit&#58;",
    "![p](http://evil.example/p.png) [l](http://evil.example) [l](javascript:ran=1)",
    "https://evil.example/a http://evil.io www.evil.example eve@evil.example <http://e.example>",
    ":streamlit: :material/skull: :material_skull: :+1: :smile: :red[x] :red-badge[x] :small[x]",
    "$x^2$ $$x$$ `c` ``c`` **b** *i* __u__ ~~s~~ ==m== ^1^ [^1] | a | b |",
    "a -> b <- c <-> d -- e >= f <= g ~= h -> <-",
    "# h 1. l - l > q === --- ::: *** +++",
    r"\ \\ \[x\](y) \` \$",
    "a\n\n# b\n\n    c\n```mermaid\ngraph\n```\n| a |\n|---|",
    "rtl \u202egnp.exe \u2066x\u2069 zero\u200bwidth \u200fmark",
    "x:{a=1}: :-> --: :-- www.@: a:b:c & &amp; 1. 2) _a_ a_b __c__",
    "1. one",
    "- two",
    "x" * 500,
)


PLACES = 7
"""Where each of them is drawn."""


def draw() -> None:
    for number, text in enumerate(TEXTS):
        with st.container(key=f"text-{number}"):
            st.markdown(plain(text))
            st.caption(f"**{plain(text)}** {plain(text)}")
            st.error(harmless(text.replace("`", "'")))
            st.button(plain(text), key=f"button-{number}")
            st.expander(plain(text))
            st.subheader(plain(text), anchor=False)
            st.progress(0.5, plain(text))

    chart = go.Figure()
    chart.add_bar(
        y=[chart_text(text[:60]) for text in TEXTS],
        x=[1] * len(TEXTS),
        orientation="h",
        hovertemplate="%{y}: "
        + chart_text("<a href='http://evil.io'>%{x}</a>")
        + "<extra></extra>",
    )
    chart.update_layout(height=900, margin={"l": 500})
    st.plotly_chart(chart, key="chart")


if __name__ == "__main__":
    draw()
