//! The decision in the words of its description, one rule after the other, too simple to be wrong.

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum For {
    Anonymous,
    User(String),
    Group(String),
    Everybody,
}

#[derive(Debug, Clone)]
pub(crate) struct PlainRule {
    pub(crate) whose: For,
    /// `read`, `write`, `readwrite`, `deny`, `readdeny` or `writedeny`.
    pub(crate) access: &'static str,
    pub(crate) filter: String,
}

pub(crate) struct Question<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) client: &'a str,
    pub(crate) write: bool,
    pub(crate) topic: &'a str,
}

/// What is allowed, for Mosquitto 2.1 or 2.0 (`anywhere`). `members` are groups and users.
pub(crate) fn allowed(
    rules: &[PlainRule],
    members: &[(String, String)],
    question: &Question<'_>,
    anywhere: bool,
) -> bool {
    let topic = question.topic;
    if topic.starts_with("$share") {
        return false;
    }
    if question.write && topic.starts_with("$SYS") && !matches("$SYS/broker/connection/+/state", topic) {
        return false;
    }
    let whose = question
        .user
        .map_or(For::Anonymous, |user| For::User(user.to_owned()));
    let is_own = |rule: &PlainRule| match &rule.whose {
        For::Group(group) => members
            .iter()
            .any(|(name, user)| name == group && Some(&**user) == question.user),
        other => *other == whose,
    };
    let own = rules
        .iter()
        .filter(|rule| is_own(rule))
        .cloned()
        .collect::<Vec<_>>();
    if let Some(decision) = first(&own, question, &|rule| matches(&rule.filter, topic)) {
        return decision;
    }
    let patterns = rules
        .iter()
        .filter(|rule| rule.whose == For::Everybody)
        .cloned()
        .collect::<Vec<_>>();
    let wild = |name: &str| name.contains('+') || name.contains('#');
    if patterns.is_empty() || wild(question.client) || question.user.is_some_and(wild) {
        return false;
    }
    let fits = |rule: &PlainRule| {
        // 2.0 asks this of the filter that comes out, which `matches` does.
        if !anywhere && topic.starts_with('$') && !rule.filter.starts_with('$') {
            return false;
        }
        substituted(&rule.filter, question, anywhere).is_some_and(|filter| matches(&filter, topic))
    };
    first(&patterns, question, &fits).unwrap_or(false)
}

fn first(rules: &[PlainRule], question: &Question<'_>, fits: &dyn Fn(&PlainRule) -> bool) -> Option<bool> {
    let (deny, grant) = match question.write {
        true => (["deny", "writedeny"], ["readwrite", "write"]),
        false => (["deny", "readdeny"], ["readwrite", "read"]),
    };
    if rules.iter().any(|rule| deny.contains(&rule.access) && fits(rule)) {
        return Some(false);
    }
    let granted = rules
        .iter()
        .any(|rule| grant.contains(&rule.access) && fits(rule));
    granted.then_some(true)
}

/// `None` if the pattern is for nobody.
fn substituted(pattern: &str, question: &Question<'_>, anywhere: bool) -> Option<String> {
    if pattern.contains("%u") && question.user.is_none() {
        return None;
    }
    let user = question.user.unwrap_or("");
    if anywhere {
        let empty = (pattern.contains("%u") && user.is_empty())
            || (pattern.contains("%c") && question.client.is_empty());
        // A character that is in no name keeps what was put in from being replaced again.
        let marked = pattern.replace("%u", "\u{1}").replace("%c", "\u{2}");
        let text = marked.replace('\u{1}', user).replace('\u{2}', question.client);
        return Some(text).filter(|_| !empty);
    }
    let level = |level: &str| match level {
        "%u" => Some(user.to_owned()).filter(|name| !name.is_empty() && !name.contains('/')),
        "%c" => Some(question.client.to_owned()).filter(|name| !name.is_empty() && !name.contains('/')),
        other => Some(other.to_owned()),
    };
    Some(
        pattern
            .split('/')
            .map(level)
            .collect::<Option<Vec<_>>>()?
            .join("/"),
    )
}

pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let (filter, topic) = (
        filter.split('/').collect::<Vec<_>>(),
        topic.split('/').collect::<Vec<_>>(),
    );
    let open = filter.last() == Some(&"#");
    let fixed = if open {
        &filter[..filter.len() - 1]
    } else {
        &filter[..]
    };
    let long_enough = if open {
        topic.len() >= fixed.len()
    } else {
        topic.len() == fixed.len()
    };
    long_enough
        && fixed
            .iter()
            .zip(&topic)
            .all(|(filter, level)| *filter == "+" || filter == level)
}
