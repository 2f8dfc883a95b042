//! The user's credential helpers.

use crate::home::{Home, LONG};
use pipelined::git::fill;
use std::time::{Duration, Instant};

#[tokio::test]
async fn helpers_are_asked_told_and_warned() {
    let home = Home::new("[credential]\n\tuseHttpPath = true\n");
    home.helper("echo username=u; echo 'password=p=w '; echo oauth_refresh_token=again");
    let filled = home.fill("https://x:y@h:8443/team/r.git", None).await.unwrap();
    assert_eq!(
        (filled.login.username.as_str(), filled.login.password.as_str()),
        ("u", "p=w ")
    );
    assert_eq!(format!("{filled:?}"), "Filled(***)");
    let told = home.told();
    for line in ["[get]", "protocol=https", "host=h:8443", "path=team/r.git"] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    assert!(!told.contains("x:y") && !told.contains("username"), "{told}");

    filled.approve(&home.runner, home.path(), LONG).await.unwrap();
    filled.reject(&home.runner, home.path(), LONG).await.unwrap();
    let told = home.told();
    let (_, stored) = told.split_once("[store]").unwrap();
    let (stored, erased) = stored.split_once("[erase]").unwrap();
    for part in [stored, erased] {
        for line in ["host=h:8443", "path=team/r.git", "username=u", "password=p=w "] {
            assert!(part.lines().any(|l| l == line), "{line}: {part}");
        }
    }
    assert!(stored.contains("oauth_refresh_token=again"), "{stored}");
    let leaks = std::fs::read_to_string(home.scratch.join("told.leak")).unwrap();
    assert!(
        leaks.lines().all(|count| count == "0"),
        "a helper saw our variable: {leaks}"
    );
}

#[tokio::test]
async fn a_name_is_passed_on_and_is_enough() {
    let home = Home::new("");
    home.helper("grep -q username=known \"$(dirname \"$0\")/told\" && echo password=found");
    let filled = home.fill("https://h/x", Some("known")).await.unwrap();
    assert_eq!(
        (filled.login.username.as_str(), filled.login.password.as_str()),
        ("known", "found")
    );

    // As a token: no helper knows it, and none is told what became of it.
    let home = Home::new("");
    home.helper("");
    let filled = home.fill("https://h/x", Some("token")).await.unwrap();
    assert_eq!(
        (filled.login.username.as_str(), filled.login.password.as_str()),
        ("token", "")
    );
    filled.approve(&home.runner, home.path(), LONG).await.unwrap();
    assert!(!home.told().contains("[store]"));
    assert_eq!(home.fill("https://h/x", None).await, None);
}

#[tokio::test]
async fn settings_for_one_server_choose_its_helper() {
    let home = Home::new(
        "[credential \"https://h\"]\n\tusername = configured\n\
         \thelper = \"!f() { test $1 = get && echo password=theirs; }; f\"\n",
    );
    let filled = home.fill("https://h/x", None).await.unwrap();
    assert_eq!(
        (filled.login.username.as_str(), filled.login.password.as_str()),
        ("configured", "theirs")
    );
    assert_eq!(home.fill("https://other/x", None).await, None);
}

#[tokio::test]
async fn odd_helpers_and_urls_are_no_login() {
    for answer in [
        "printf '\\0\\377garbage\\n\\n=\\nno'",
        "echo username=u",
        "echo quit=1",
        "echo username=u; printf 'password=\\377\\n'",
        "exit 3",
        "kill -9 $$",
        "head -c 3000000 /dev/zero | tr '\\0' x",
    ] {
        let home = Home::new("");
        home.helper(answer);
        assert_eq!(home.fill("https://h/x", None).await, None, "{answer}");
    }
    let home = Home::new("");
    home.helper("echo username=u; echo password=p");
    for (url, username) in [
        ("https://h/x\nhost=evil", None),
        ("https://h/x", Some("a\nhost=evil")),
        ("https://h/%0ahost=evil", None),
        ("no url", None),
    ] {
        let filled = home.fill(url, username).await;
        assert!(!home.told().contains("host=evil"), "{url:?}");
        assert_eq!(filled, None, "{url:?}");
    }
}

#[tokio::test]
async fn nobody_is_asked_and_no_helper_hangs_us() {
    // A terminal prompt would read from a terminal, and a window would open by SSH_ASKPASS.
    let mut home = Home::new("");
    let witness = home.scratch.join("asked");
    let askpass = home
        .scratch
        .script("askpass", &format!("touch '{}'; echo x", witness.display()));
    home.runner = home.runner.with_env([("SSH_ASKPASS".into(), askpass.into())]);
    assert_eq!(home.fill("https://h/x", None).await, None);
    assert!(!witness.exists());

    home.helper("sleep 600 & wait");
    let deadline = Duration::from_millis(1500);
    let begin = Instant::now();
    let failure = fill(&home.runner, home.path(), "https://h/x", Some("u"), deadline)
        .await
        .unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(failure.message.contains("credential helper"), "{failure}");
    assert!(home.told().contains("[get]"), "it was asked before it was ended");
}

#[tokio::test]
async fn a_missing_git_is_told() {
    let home = Home::new("");
    let bin = home.scratch.mkdir("bin");
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let runner = home.runner.with_env([("PATH".into(), bin.into())]);
    let failure = fill(&runner, home.path(), "https://h/x", None, LONG).await.unwrap_err();
    assert!(failure.message.contains("is git installed"), "{failure}");
}
