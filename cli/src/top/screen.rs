//! What the terminal shows, and what keys do to it. Nothing here touches the terminal itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::names::Names;
use super::page::{self, Line, PANES, Pane, Weight};
use super::view::View;

/// Intervals that can be chosen by key.
const INTERVALS: [Duration; 8] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];
/// Rates of queries that are kept for the line of what was.
const HISTORY_MAX: usize = 240;
/// Rows by which a page key scrolls.
const PAGE_ROWS: usize = 10;
const KEYS: &str = "q quit  p pause  + - interval  Tab pane  Up Down scroll";

/// What a key asks for, beyond what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    /// Figures shall come at this interval from now on.
    Interval(Duration),
}

/// The state of the page.
#[derive(Debug)]
pub(super) struct Screen {
    place: String,
    interval: Duration,
    view: Option<View>,
    names: Names,
    /// Why there are no figures, and since when.
    trouble: Option<(String, Instant)>,
    is_paused: bool,
    /// The pane that keys scroll.
    focus: usize,
    /// The first row that is shown of each pane.
    offsets: [usize; PANES],
    /// Queries a second, newest last.
    history: VecDeque<f64>,
}

impl Screen {
    pub(super) fn new(place: String, interval: Duration) -> Screen {
        Screen {
            place,
            interval,
            view: None,
            names: Names::Unknown,
            trouble: None,
            is_paused: false,
            focus: 0,
            offsets: [0; PANES],
            history: VecDeque::new(),
        }
    }

    /// Figures have come, or why there are none.
    pub(super) fn look(&mut self, told: Result<View, String>, now: Instant) {
        match told {
            Err(why) => {
                let since = self.trouble.as_ref().map_or(now, |(_, since)| *since);
                self.trouble = Some((why, since));
            }
            Ok(view) => {
                self.trouble = None;
                if self.is_paused {
                    return;
                }
                if let Some(rate) = view.span_micros.and(view.all_queries()) {
                    self.history.push_back(rate);
                    let surplus = self.history.len().saturating_sub(HISTORY_MAX);
                    self.history.drain(..surplus);
                }
                self.view = Some(view);
            }
        }
    }

    pub(super) fn name(&mut self, names: Names) {
        if !self.is_paused {
            self.names = names;
        }
    }

    /// Does what a key is for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let offset = &mut self.offsets[self.focus];
        match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Wish::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('+' | '=') => return self.pace(INTERVALS.iter().find(|&&longer| longer > self.interval)),
            KeyCode::Char('-') => return self.pace(INTERVALS.iter().rfind(|&&shorter| shorter < self.interval)),
            KeyCode::Tab | KeyCode::Right => self.focus = (self.focus + 1) % PANES,
            KeyCode::BackTab | KeyCode::Left => self.focus = (self.focus + PANES - 1) % PANES,
            KeyCode::Up | KeyCode::Char('k') => *offset = offset.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => *offset += 1,
            KeyCode::PageUp => *offset = offset.saturating_sub(PAGE_ROWS),
            KeyCode::PageDown => *offset += PAGE_ROWS,
            KeyCode::Home => *offset = 0,
            // The next drawing finds how far it goes.
            KeyCode::End => *offset = usize::MAX / 2,
            _ => {}
        }
        Wish::Nothing
    }

    fn pace(&mut self, interval: Option<&Duration>) -> Wish {
        let Some(&interval) = interval else { return Wish::Nothing };
        self.interval = interval;
        Wish::Interval(interval)
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, area: Rect, buffer: &mut Buffer, now: Instant) {
        let [keys, above] = split_below(area, 1);
        let mut lines = match &self.view {
            Some(view) => page::head(view, &self.place),
            None => vec![(Weight::Title, format!("ringdns at {}", self.place))],
        };
        if let Some((why, since)) = &self.trouble {
            let seconds = now.saturating_duration_since(*since).as_secs();
            lines.push((Weight::Fault, format!("no figures for {seconds} s, asking again: {why}")));
        }
        if let Some(view) = &self.view {
            lines.push((Weight::Plain, self.chart(area.width.into())));
            lines.extend(page::summary(view, area.width.into()));
        }
        let panes = self.view.as_ref().map(|view| page::panes(view, &self.names));
        let used = put(buffer, above, &lines);
        let room = Rect { y: above.y + used, height: above.height - used, ..above };
        if let Some(panes) = panes {
            self.draw_panes(room, buffer, &panes);
        }
        put(buffer, keys, &[(Weight::Title, self.state())]);
    }

    /// What the keys have done, and what they are.
    fn state(&self) -> String {
        let paused = if self.is_paused { "  PAUSED" } else { "" };
        format!("every {:?}{paused}  {KEYS}", self.interval)
    }

    /// The rates of queries that were, as bars in the line.
    fn chart(&self, width: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let title = "queries ";
        let room = width.saturating_sub(title.len());
        let shown = self.history.iter().skip(self.history.len().saturating_sub(room));
        let most = shown.clone().copied().fold(1.0, f64::max);
        let bar = |&rate: &f64| BARS[((rate / most * 7.0).round() as usize).min(7)];
        title.to_owned() + &shown.map(bar).collect::<String>()
    }

    /// Each pane gets what it needs, or a fair share of what there is; none is shown with its title alone.
    fn draw_panes(&mut self, area: Rect, buffer: &mut Buffer, panes: &[Pane; PANES]) {
        let needs = panes.each_ref().map(|pane| u16::try_from(pane.rows.len()).unwrap_or(u16::MAX).saturating_add(1));
        let heights = shares(needs, area.height, self.focus);
        let mut top = area.y;
        for (index, (pane, height)) in panes.iter().zip(heights).enumerate() {
            if height < 2 {
                continue;
            }
            let shown = usize::from(height) - 1;
            let last = pane.rows.len().saturating_sub(shown);
            self.offsets[index] = self.offsets[index].min(last);
            let first = self.offsets[index];
            let rows = &pane.rows[first..(first + shown).min(pane.rows.len())];
            let mut title = pane.title.clone();
            if last > 0 {
                title += &format!("  [{}-{} of {}]", first + 1, first + rows.len(), pane.rows.len());
            }
            let title_area = Rect { y: top, height: 1, ..area };
            put(buffer, title_area, &[(Weight::Title, title)]);
            if index == self.focus {
                buffer.set_style(title_area, Style::new().add_modifier(Modifier::REVERSED));
            }
            put(buffer, Rect { y: top + 1, height: height - 1, ..area }, rows);
            top += height;
        }
    }
}

/// The last `rows` of an area, and what is above them.
fn split_below(area: Rect, rows: u16) -> [Rect; 2] {
    let below = rows.min(area.height);
    let above = Rect { height: area.height - below, ..area };
    [Rect { y: area.y + above.height, height: below, ..area }, above]
}

/// Heights of panes that need so much, in `room`: the smallest get what they need first. Where there is too little for
/// all, the pane that keys scroll comes first.
fn shares(needs: [u16; PANES], room: u16, focus: usize) -> [u16; PANES] {
    let mut heights = [0; PANES];
    let fits = usize::from(room / 2).min(PANES);
    let mut shown: Vec<usize> = (0..PANES).map(|step| (focus + step) % PANES).take(fits).collect();
    shown.sort_by_key(|&pane| needs[pane]);
    let mut left = room;
    for (at, &pane) in shown.iter().enumerate() {
        let among = (shown.len() - at) as u16;
        heights[pane] = needs[pane].min(left / among);
        left -= heights[pane];
    }
    heights
}

/// Writes lines from the top of an area; how many it took.
fn put(buffer: &mut Buffer, area: Rect, lines: &[Line]) -> u16 {
    let mut used = 0;
    for (weight, text) in lines.iter().take(area.height.into()) {
        buffer.set_stringn(area.x, area.y + used, text, area.width.into(), style(*weight));
        used += 1;
    }
    used
}

fn style(weight: Weight) -> Style {
    match weight {
        Weight::Plain => Style::new(),
        Weight::Title => Style::new().add_modifier(Modifier::BOLD),
        Weight::Warning => Style::new().fg(Color::Yellow),
        Weight::Fault => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::view::tests::sample;
    use super::*;

    fn press(screen: &mut Screen, code: KeyCode) -> Wish {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn screen() -> Screen {
        Screen::new("127.0.0.1:8053".to_owned(), Duration::from_secs(1))
    }

    /// The lines of a terminal of this size.
    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame.area(), frame.buffer_mut(), Instant::now())).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect()
    }

    fn filled() -> Screen {
        let mut screen = screen();
        screen.look(Ok(View::between(None, &sample(1))), Instant::now());
        screen.look(Ok(View::between(Some(&sample(1)), &sample(2))), Instant::now());
        let names = (0..40).map(|n| (format!("n{n}.test."), Some(100 - n)));
        screen.name(Names::Ranked(names.collect()));
        screen
    }

    #[test]
    fn a_terminal_shows_all_that_fits() {
        let mut screen = filled();
        let told = [
            "ringdns 0.1.0 at 127.0.0.1:8053, up for 2s; 2 of 2 cores answer",
            "queries █",
            "QUERIES       /S    REPLIES      /S   OF ALL    LATENCY          /S      P50      P90      P99    P99.9    DROPPED       /S",
            "udp           98    NOERROR      90   90.9 %    udp, at once    100     3 µs     7 µs     7 µs  1.02 ms    malformed    1.0",
            "tcp          2.0    NXDOMAIN    9.0    9.1 %    udp, waited       0        -        -        -        -",
            "all          100                                tcp, at once      0        -        -        -        -",
            "dropped      1.0                                tcp, waited       0        -        -        -        -",
            "in flight      3                                upstreams         0        -        -        -        -",
            "waiting        2",
            "TCP open       1",
            "CACHE",
            "1000 answers, 1.0 MiB of 256.0 MiB; 75.0 % hits",
            "per second: misses 25, stale 0, coalesced -, inserts 25, evictions -, expired -, refreshes -",
            "CORE  STATE    CPU    BUSY  QUERIES/S  DROPPED/S",
            "0     answers    4  25.0 %         50          0",
            "1     answers    5  50.0 %         50        1.0",
            "UPSTREAM            POOLS   CORES           ROUND TRIP  LOSS  ASKED/S  SILENT/S  IN FLIGHT",
            "udp://192.0.2.1:53  origin  up on 2 of 2       1.26 ms   5 %       25       1.0          1",
            "udp://192.0.2.2:53  origin  down on 2 of 2     1.26 ms   5 %       25       1.0          1",
            "QUERIES  NAMES of the last 5 minutes  [1-5 of 40]",
            "    100  n0.test.",
            "     99  n1.test.",
            "     98  n2.test.",
            "     97  n3.test.",
            "     96  n4.test.",
            "every 1s  q quit  p pause  + - interval  Tab pane  Up Down scroll",
        ];
        assert_eq!(drawn(&mut screen, 130, 26), told);
    }

    #[test]
    fn panes_are_scrolled_as_far_as_they_go() {
        let mut screen = filled();
        let names = |screen: &mut Screen| drawn(screen, 130, 26)[19..25].to_vec();
        press(&mut screen, KeyCode::Down);
        assert!(names(&mut screen)[0].ends_with("[1-5 of 40]"), "the cores have the keys, and nothing to scroll");
        assert_eq!(press(&mut screen, KeyCode::BackTab), Wish::Nothing);
        for (code, first) in [
            (KeyCode::Down, 2),
            (KeyCode::PageDown, 12),
            (KeyCode::Up, 11),
            (KeyCode::PageUp, 1),
            (KeyCode::Up, 1),
            (KeyCode::End, 36),
            (KeyCode::Down, 36),
            (KeyCode::PageUp, 26),
            (KeyCode::Home, 1),
        ] {
            press(&mut screen, code);
            let shown = names(&mut screen);
            assert!(shown[0].ends_with(&format!("[{first}-{} of 40]", first + 4)), "{code:?}: {}", shown[0]);
            assert!(shown[1].ends_with(&format!(" n{}.test.", first - 1)), "{code:?}: {}", shown[1]);
        }
        press(&mut screen, KeyCode::End);
        drawn(&mut screen, 130, 26);
        screen.name(Names::Ranked(vec![("a.".to_owned(), Some(1))]));
        assert_eq!(names(&mut screen)[1], "      1  a.", "what has gone takes the place with it");
    }

    #[test]
    fn terminals_of_any_size_are_drawn_on() {
        let mut screen = filled();
        for focus in 0..PANES {
            for (width, height) in [(0, 0), (1, 1), (5, 2), (40, 10), (80, 24), (300, 200), (20, 60), (130, 16)] {
                drawn(&mut screen, width, height);
            }
            // Where there is room for one pane, it is the one that the keys are for.
            let one = drawn(&mut screen, 130, 16);
            let title = ["CORE ", "UPSTREAM", "QUERIES  NAMES"][focus];
            assert!(one[13].starts_with(title), "{one:?}");
            press(&mut screen, KeyCode::Tab);
        }
        assert_eq!(shares([3, 3, 41], 30, 0), [3, 3, 24]);
        assert_eq!(shares([40, 40, 2], 30, 0), [14, 14, 2]);
        assert_eq!((shares([9, 9, 9], 5, 2), shares([9, 9, 9], 1, 0)), ([3, 0, 2], [0, 0, 0]));
        assert_eq!(shares([u16::MAX; 3], u16::MAX, 1), [u16::MAX / 3; 3]);
    }

    #[test]
    fn a_server_that_is_away_is_told_of_until_it_is_back() {
        let mut screen = screen();
        let start = Instant::now();
        screen.look(Err("no server answers: x: refused".to_owned()), start);
        let told = |screen: &mut Screen| drawn(screen, 130, 26);
        let shown = told(&mut screen);
        assert_eq!(
            shown[..2],
            ["ringdns at 127.0.0.1:8053", "no figures for 0 s, asking again: no server answers: x: refused"]
        );
        let mut screen = filled();
        screen.look(Err("gone".to_owned()), start);
        screen.look(Err("still gone".to_owned()), start + Duration::from_secs(7));
        assert_eq!(screen.trouble, Some(("still gone".to_owned(), start)));
        let shown = told(&mut screen);
        assert!(shown[1].starts_with("no figures for ") && shown[3].starts_with("QUERIES"), "{shown:?}");
        screen.look(Ok(View::between(None, &sample(1))), start);
        assert!(told(&mut screen)[1].starts_with("queries "));
    }

    #[test]
    fn keys_do_what_they_are_said_to() {
        let mut screen = filled();
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut screen, code), Wish::Quit);
        }
        let control = |code| KeyEvent::new(KeyCode::Char(code), KeyModifiers::CONTROL);
        assert_eq!((screen.press(control('c')), press(&mut screen, KeyCode::Char('c'))), (Wish::Quit, Wish::Nothing));
        let longer: Vec<Wish> = (0..7).map(|_| press(&mut screen, KeyCode::Char('+'))).collect();
        let interval = |seconds| Wish::Interval(Duration::from_secs(seconds));
        assert_eq!(longer[..5], [2, 5, 10, 30, 60].map(interval));
        assert_eq!(longer[5..], [Wish::Nothing; 2]);
        assert_eq!(press(&mut screen, KeyCode::Char('-')), interval(30));
        // While it is paused, nothing changes but what is wrong.
        let before = drawn(&mut screen, 130, 26);
        press(&mut screen, KeyCode::Char('p'));
        screen.look(Ok(View::between(Some(&sample(2)), &sample(50))), Instant::now());
        screen.name(Names::Off);
        let paused = drawn(&mut screen, 130, 26);
        assert_eq!(paused[..25], before[..25]);
        assert!(paused[25].starts_with("every 30s  PAUSED  q quit"), "{}", paused[25]);
        press(&mut screen, KeyCode::Char('p'));
        screen.look(Ok(View::between(Some(&sample(2)), &sample(50))), Instant::now());
        assert!(drawn(&mut screen, 130, 26)[0].contains("up for 50s"));
    }

    #[test]
    fn what_was_is_bounded_and_drawn_to_scale() {
        let mut screen = screen();
        assert_eq!(screen.chart(80), "queries ");
        for rate in 0..2 * HISTORY_MAX {
            let mut view = View::between(Some(&sample(1)), &sample(2));
            view.queries.truncate(1);
            view.queries[0].per_second = Some((rate % 8) as f64);
            screen.look(Ok(view), Instant::now());
        }
        assert_eq!(screen.history.len(), HISTORY_MAX);
        assert_eq!(screen.chart(16), "queries ▁▂▃▄▅▆▇█");
        assert_eq!(screen.chart(3), "queries ");
    }
}
