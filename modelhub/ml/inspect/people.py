"""More sentences that speak of people, and some that speak of nobody in capitals; names that Faker lacks."""

from __future__ import annotations

PERSON = (
    # news and business
    "{p} was elected chairman of {o} last week.", "Shares rose after {p}, the finance chief, stepped down.",
    "{o} has named {p} head of sales in {c}.", "In an interview with {p}, the minister avoided the question.",
    "{f} denied the claims.", "{f} said on Tuesday that talks would go on.", "Mr {f} and Mrs {f} live in {c}.",
    "Founded by {p} and {p}, {o} employs 40 people.", "The three partners, {f}, {f} and {f}, met at school.",
    "The company was started by {f}, {f} and {f} in a garage.", "Lawyers for {p} declined to comment.",
    "The jury found {p} not guilty.", "Police in {c} are looking for {p}, 34.", "{p} (left) shakes hands with {p}.",
    "Among the guests were {p}, {p} and {f} from {o}.", "{p}, who runs {o}, grew up in {c}.", "A spokesman for {f} agreed.",
    "Judge {f} adjourned the hearing.", "Senator {f} voted against it.", "President {f} will visit {c}.",
    "Former mayor {p} died at 81.", "{o} chief executive {p} bought shares.", "{o}'s {p} spoke first, then {p} of {o}.",
    "The award went to {p} of {o}, {p} and {o}'s {p}.", "Captain {f} scored twice.", "{f} beat {f} in straight sets.",
    "Goals by {f} and {f} settled the match.", "Coach {p} changed the team.", "{f}'s second goal won it.",
    # art, books, music, science
    "The {f} album is better than the last one.", "Unlike the {f} film, this one is short.", "I saw the {f} play twice.",
    "The {f} case changed the law.", "Have you read the {f} report?", "Tickets for the {p} show are sold out.",
    "Were you at the {p} lecture on Friday?", "We went to a {p} exhibition in {c}.", "That was a typical {g} answer.",
    "{f} wrote most of it as a student.", "{f} started painting late, and sold little.", "{p} began as a nurse before writing.",
    "{f} composed it in 1911.", "{f} and {f} were the best players of their time.", "{f} and {f} developed the method.",
    "Directed by {p}", "Directed by: {p}", "Written and directed by {p}, with {p} and {p}.", "Starring: {p}, {p}",
    "Cast: {p}, {p}, {p}", "Music: {p}", "Producer {p} explained the idea.", "Singer {p} cancelled the tour.",
    "Guitarist {g} {f} left the band.", "The lyrics are by {f}, the tune by {f}.", "{f} et al. (2019) report the same.",
    "As {f} (2004) shows, this fails.", "See {f} and {f}, 1998.", "A theorem of {f} says so.", "a biography of {p}",
    "The part of the king is played by {p}.", "the portrait of {p} hangs in {c}", "Nobody sings it like {g}.",
    "{g} is a fine actor, but the script is weak.", "The scene where {g} meets {g} is touching.",
    "It stars {g} {f} as {g}, a doctor who returns home.", "{g} plays the father, {g} the son.", "poor {g} never had a chance",
    # talk about people
    "{g} is very kind.", "{g} is always late.", "{f} is a good plumber, you can trust him.", "{g} can't come today.",
    "{g} has gone home.", "{g} just wants to sleep.", "but {g} just laughed", "and then {g} left", "because {g} is ill",
    "if {g} agrees, we start", "Let's wait for {g}.", "Come on, {g}!", "Well done, {g}.", "Don't cry, {g}.", "Thanks {g}!",
    "Good night, {g}.", "Look, {g}, I have no time.", "{g}, could you send me the file?", "{g}, please call me back.",
    "{g}, do you have a minute?", "{g}, may I ask you something?", "Hey {g}, what's up?", "hi {gl}, how are you",
    "I'm {g}'s mother.", "I am {g}'s brother.", "She is {g}'s boss.", "It was {g}'s idea.", "at {g}'s house",
    "We are {g}'s parents.",
    "He took {g}'s bag.", "between her and {g}'s sister", "{g}'s kids are ill.", "{g}'s new job is in {c}.",
    "This is my friend {g}.", "my daughter {g} is five", "My husband {g} has the tickets.", "My boss, {p}, said no.",
    "our neighbour {f} complained", "My kid {g} is allergic to nuts.", "her cousin {g} moved to {c}", "their son {g}",
    "the twins, {g} and {g}, are six", "I have two sisters, {g} and {g}.", "We are four: {g}, {g}, {g} and {g}.",
    "people call me {gl}", "everybody calls me {g}", "She is called {g}.", "They named the baby {g}.", "He called his son {g}.",
    "my full name is {p}, my friends say {g}", "My name is {p} but please call me {g}.", "i'm {gl}, {gl}'s sister",
    "her maiden name is {f}", "my surname is {f}", "The name {f} is misspelt.", "spell it {f}, please",
    "It should read {p}.", "Correct it to {p}.", "Please change the name to {p}.", "under the name {p}",
    "in my husband's name, {p}", "The card is in the name of {p}.", "the holder is {p}", "registered to {p}",
    "I want to add {p} as an owner.", "Add {p} to the account.", "take {g} off the list", "leave it to {p} in my will",
    "I would like to make {p} my heir.", "remove my son {g}", "{p} is authorised to act for me.",
    "Is this the account of {p}?", "Was it {p} who called?", "Who? {p}.", "Your name? {p}", "Name please. {p}",
    "What is your name?\n{p}", "So you are {p}?", "You must be {g}.", "Are you {p}?", "Isn't that {g}?",
    "Some say {f} was right.", "You can tell that {g} likes it.", "I think {g} knows.", "I doubt {f} ever read it.",
    "It seems {p} was there.", "Perhaps {g} forgot.", "The identity of {g} is still a secret.", "the fate of {p} is unknown",
    "questions about {g} remain", "a letter to {p} from {p}", "the friendship of {g} and {g}", "with help from {p}",
    "thanks to {f}", "without {g}", "like {g} and {g} before her", "not even {g} noticed", "Only {f} stayed.",
    # chats, plays, mails
    "{g}: Who is there?\n{g}: It's me.", "{g}: hello\n{g}: hi", '{g}: "Are you coming?"\n{g}: "Yes."',
    "{g}:\"I'm {g}'s wife\".", "{g}> the build is broken", "[10:32] {g}: on my way", "<{gl}> hi all", "@{gl} can you look?",
    "{g} wrote: see below", "On Monday, {p} wrote:", "From: {p} <office@example.com>", "To: {p}; {p}", "Cc: {p}, {p}",
    "Hi {g} and {g},", "Dear {g} and {g},", "Hello {f},", "Dear Professor {f},", "Dear Dr. {f},", "Good morning {g},",
    "Yours,\n{g}", "Best,\n{g} {f}", "Love, {g}", "Warmly,\n{p}\n{o}\n{c}", "--\n{p}\nSales, {o}", "Thank you,\n{p}",
    "> {p}\n> {o}\n> {c}", "{p}\n{o}\n{c}", "{p}\nSuite 12\n{c}", "{p}\n\n4 High Street\n{c}", "Mr. {p}\n17 Station Road\n{c}",
    "{p}, 12 Main Street, {c}", "Deliver to {p}, {c}.", "c/o {p}", "Attention {p}", "{p} Apt. 4, {c}",
    # forms, records, tables, code
    "First name: {g}\nLast name: {f}", "Given name {g}, family name {f}", "Full name: {p}", "Account holder: {p}",
    "Beneficiary: {p}", "Applicant: {p}", "Guardian: {p}", "Emergency contact: {p}", "Physician: {p}", "Surgeon: Dr. {p}",
    "Employee {p} joined in May.", "Manager: {p}", "Author: {p}", "Prepared by: {p}", "Approved by {p}", "Witness: {p}",
    "Buyer: {p}\nSeller: {p}", "Tenant: {p}", "Plaintiff {p} v. {p}", "{f} v. {f}", "{f}, {g}", "{f}, {g}; {f}, {g}",
    '"name": "{p}", "city": "{c}"', '"first": "{g}", "last": "{f}"', "name={p}", "{p},{c},42", "{p}\t{c}\t7", "| {g} | {f} |",
    "1. {p}\n2. {p}\n3. {p}", "- {p} ({o})\n- {p} ({o})", "* {g}\n* {g}", "{p}; {p}; {p}", "Present: {p}, {p}. Absent: {f}.",
    "Assigned to {g}.", "{g} to send the minutes.", "Action: {f} to check the price.", "{p}\n\nNurse\n\nContact:\nPhone:",
    "{p}\n\nAccountant\n\nDetails:\nE-mail:", "{p}\nDriver, {o}\nPhone:", "{gl} {fl}\n\nteacher\n\nphone:", "CV of {p}",
    "{p} will be speaking at the meeting.", "{p} will be joining us next week.", "{p} is on holiday.", "{p} has resigned.",
    # care, travel, money, school
    "{p} presented with chest pain.", "{f} is a 54-year-old man from {c}.", "Dr. {f} examined {g} today.",
    "I told nurse {g} about the rash.", "We gave {g} the second dose.", "Miss {f} denies smoking.", "Mr. {f} takes aspirin.",
    "referred by Dr. {p}", "discussed with {g} and her mother", "Two seats for {p} and {p}, please.", "Passenger: {p}",
    "the room is booked for {p}", "check in as {f}", "I wired it to {p} on Monday.", "send 50 euros to {gl}",
    "{p} owes me money.", "The cheque is made out to {p}.", "{p} from {o} called about the loan.", "Teacher: {f}",
    "{g} got a B in maths.", "{f}'s class meets in room 4.", "remind me to call {g} at five", "text {gl} that i am late",
    "is it {gl}'s birthday today", "what is {gl}'s number", "when did {p} arrive in {c}", "play something by {p}",
    "who is {gl} {fl}", "how old is {p}", "show me films with {p}", "e-mail {gl} {fl} the report", "{gl} and {gl} are my kids",
)  # fmt: skip
NOBODY = (
    "The {c} branch is closed.", "Unlike the {o} phone, this one works.", "Have you been to {c}?", "Flights from {c}",
    "{c}, {c} and {c} are cheap in May.", "The three offices, {c}, {c} and {c}, were closed.", "I moved from {c} to {c}.",
    "In {c} it rains.", "from {c}, but", "The {c} Museum of Art", "{c} University Hospital", "North {c}", "Greater {c}",
    "Deliver to 12 Main Street, {c}.", "{o}, {c}", "{o}\n12 Main Street\n{c}", "{o} is hiring.", "{o} was founded in {c}.",
    "Contact {o} for help.", "Made by {o}", "Is {o} open today?", "a {o} product", "{o}'s website is down.",
    "Directed at Children", "Action & Comedy, Mystery & Suspense", "Drama, Family, Kids", "Episode Two: The Return",
    "Chapter One", "Figure 3", "Table of Contents", "Dear Hiring Manager,", "Dear All,", "Hi Everyone,", "Hello Team,",
    "Yours Faithfully", "Personal Info:", "Phone:\nFax:\nWebsite:", "First Name: Last Name:", "Date of Birth", "Bank Account",
    "Credit Card", "Customer Service", "Human Resources", "Monday, Tuesday and Friday", "January and March", "On Sunday",
    "Who is there?", "What a day!", "Where is it?", "How can I pay?", "My name is on the card.", "My card was stolen.",
    "Could you help me?", "Would you like some tea?", "Remember, the office closes at five.", "Good morning.", "Thank God!",
    "I love Bach and jazz.", "Is it a Mac or a PC?", "The BBC and NATO", "ASAP, FYI, PDF", "USA, UK, EU", "The Old Bridge Hotel",
    "The Red Lion", "The Times said so.", "Yesterday on Channel Four", "Happy New Year", "Merry Christmas", "Western Europe",
    "The Pacific Ocean", "Lake Placid", "the River Thames", "Mount Everest", "Central Park", "Main Street is closed.",
    "Hungarian and Swedish", "A German car", "Catholic and Jewish schools", "the Olympic Games", "World War Two",
    "Section 4 of the Act", "The Buyer shall pay the Seller.", "This Agreement is governed by the laws of {c}.",
    "The Company and the Distributor agree.", "Party A and Party B", "Exhibit B", "Article IV", "Confidential Information",
    "Intellectual Property Rights", "Licensor grants Licensee a right.", "Terms and Conditions", "Privacy Policy",
    "Doctor: How are you?\nPatient: Fine.", "Patient: No.\nDoctor: Good.", "Guest_family: Yes.", "Tylenol and Advil",
    "Lisinopril 10 mg", "Type 2 Diabetes", "Blood Pressure", "Visa, Mastercard and Amex", "Pay by Visa.", "Bitcoin and Ether",
    "PayPal is down.", "Android and iOS", "Excel and Word", "import Path from Library", "class Foo(Bar):", "raise ValueError",
    "SELECT Name FROM Users", "TODO: Fix", "Error: File Not Found", "GET /Index HTTP", "Yes, Please", "OK Cancel", "Log In",
    "Sign Up Now", "Read More", "Click Here", "Best Sellers", "Free Shipping", "Great product!", "Terrible. Avoid!",
    "Not good. Would not buy again.", "Loved it. Very tasty!", "Highly Recommended", "Worst movie ever.",
)  # fmt: skip

# Names that Faker's Latin locales lack: who is missed must not depend on where a name comes from.
GIVEN = """
Aaliyah Abdul Abdullah Adebayo Ahmad Ahmed Aisha Akira Ali Aliyah Amina Amir Amara Anastasia Andrei Anjali Anil Arjun Ashok
Ayesha Ayumi Babak Bilal Bo Chang Chen Chenoa Chidi Chika Chinedu Daichi Darius Darnell Dashawn DeAndre Deepak Demetrius Deshawn
Devonte Dinh Dmitry Duc Ebony Emeka Esperanza Fang Farah Farid Fatima Feng Gulnara Guadalupe Habib Hamid Hana Haruto Hassan
Hideo Hiroshi Hung Hussein Hyun Ibrahim Ifeoma Igor Imani Imran Indira Ivan Jamal Jamila Jaquan Jasmin Jerome Jian Jiho Jing
Jun Kadeem Kaito Kamal Kareem Karim Kavita Keisha Kenji Kenya Khadija Khalid Kiara Kimiko Kofi Kwame LaKeisha Lakshmi Lamar
Laquan Latasha LaToya Lei Leila Li Ling Linh Long Mahmoud Malik Manish Maryam Marquis Mei Min Ming Minh Mohamed Mohammad
Mohammed Monique Mustafa Nadia Naomi Natalya Neha Ngozi Nguyen Nikhil Noor Olga Oleg Omar Omari Osama Precious Priya Qiang
Quan Quentin Rahul Raj Rajesh Ramesh Raquel Rashad Rashid Ravi Reza Rohan Sadia Saeed Sakura Salma Sanjay Santosh Sasha
Satoshi Seung Shanice Shanelle Shreya Soo Sofia Sonya Sunil Sunita Svetlana Tadashi Takashi Takumi Tamika Tariq Tatiana
Terrell Tran Trevon Tuan Tyrone Usman Vikram Vladimir Wei Wen Xavier Xia Xin Yan Yasmin Yasir Yi Ying Yong Yoko Youssef Yu
Yuki Yuri Yusuf Zainab Zara Zhen Zoya
"""
FAMILY = """
Abdi Abdullah Adebayo Adeyemi Agarwal Ahmadi Ahmed Akhtar Ali Alvarez Amin Asante Aziz Bajwa Banerjee Bao Begum Bello Bhatt
Cai Cao Chang Chatterjee Chau Chaudhry Chen Cheng Cho Choi Chowdhury Chu Dang Das Desai Diallo Diaz Ding Dinh Diop Do Dong
Eze Farah Farooq Fernandes Fofanah Fujita Fukuda Ganguly Gao Gill Goh Gomez Guo Gupta Haddad Han Haque Hasan He Hossain
Hsu Hu Huang Huynh Ibrahim Ito Ivanov Iyer Jackson Jain Jang Jefferson Jiang Joshi Kang Kapoor Kato Kaur Khan Khalil Kim
Kobayashi Kone Kumar Kuznetsov Kwon Lam Lau Le Lee Li Liang Lim Lin Liu Lu Luo Mahmood Malik Mbeki Mehta Mensah Mishra
Mohamed Mohammadi Morozov Mukherjee Murata Mwangi Nair Nakamura Ng Ngo Nguyen Nkosi Nwosu Okafor Okeke Okonkwo Oh Osman
Ouattara Owusu Park Patel Petrov Pham Phan Popov Qureshi Rahman Rajan Ramos Rao Reddy Saito Saleh Sandhu Sato Sharma Shah
Sheikh Shi Shin Siddiqui Singh Smirnov Sokolov Song Suzuki Takahashi Tan Tanaka Tang Teo Tiwari Tran Traore Truong Verma Vo
Volkov Vu Wang Washington Watanabe Wei Wong Wu Xu Yamamoto Yang Yeo Yilmaz Yoo Yoon Yu Zhang Zhao Zheng Zhou Zhu
"""
