"""What the synthetic speakers read: everyday sentences with all the sounds of English, ten seconds or more a text."""

TEXTS = (
    "The rain stopped just before noon, and a thin yellow light spread across the wet roofs. Children jumped over "
    "the puddles in the square, while the woman at the flower stall shook the water from her awning and smiled at "
    "them all.",
    "Fresh bread needs flour, water, salt and time. Mix it in the evening, cover the bowl with a cloth, and leave "
    "it by the oven. In the morning you fold the dough twice, shape a loaf, and bake it until the crust sounds "
    "hollow.",
    "Our train leaves from platform seven at a quarter past four. If we miss it, another one follows an hour later, "
    "but it is slow and stops at every village. I would rather wait on a cold bench than run with these heavy bags.",
    "My neighbour keeps five brown hens behind the garage. Each of them has a name, and each lays an egg most days. "
    "On Sundays he leaves a small box on our doorstep, and we thank him with a jar of plum jam or a few ripe pears.",
    "The library opens at nine and smells of old paper and polish. Upstairs there is a long table under the window, "
    "where you can read the newspapers, watch the buses turn the corner, and forget how quickly the morning goes "
    "by.",
    "To mend a chair you need patience more than tools. Scrape the dry glue from the joint, fit the leg while the "
    "new glue is wet, and tie a rope around it. Nobody should sit there for a day, however good it looks tonight.",
    "A strong wind came off the sea in the night and moved the sand again. This morning the path to the beach has "
    "gone, the fence leans the other way, and two fishermen are digging out a little blue boat with their bare "
    "hands.",
    "She measured the kitchen twice and drew the shelves on brown paper. Cups would hang on hooks, plates would "
    "stand in a rack, and the heavy pans would go below. Then she found that the wall was not straight, and laughed "
    "aloud.",
    "In early spring the orchard is full of noise. Thrushes sing from the top branches, bees work in the white "
    "blossom, and somewhere beyond the hedge a farmer tries to start his old tractor, again and again, without much "
    "luck.",
    "Please bring the blue folder to the meeting on Thursday. We shall talk about the budget, choose a colour for "
    "the front door, and vote on whether the choir may use the hall. Tea and ginger biscuits will be served as "
    "usual.",
    "The clock in the tower has been four minutes fast for as long as I can remember. Visitors hurry when they hear "
    "it, but those who live here take their time, finish their coffee, and still arrive before the shutters go "
    "down.",
    "Take the second road on the left, go over the bridge, and keep the river beside you. After the mill there is a "
    "yellow house with a huge chestnut tree. Park in its shade, and walk the rest of the way through the field.",
    "We painted the boat together last weekend. My cousin sanded the hull, I mixed the paint, and her youngest boy "
    "put green handprints on everything he could reach. It will never win a prize, but we should find it in any "
    "harbour.",
    "Soup is best on the second day. Fry an onion slowly, add carrots, beans and a piece of smoked cheese rind, and "
    "let the pot sit on a low flame while you do something else. Pepper comes last, with a good handful of parsley.",
    "The museum bought a machine that makes shoes, built more than a hundred years ago. A guide turns the wheel, "
    "belts begin to slap, and a needle as thick as a pencil goes through the leather. Everyone steps back a little.",
    "He learned to juggle from a book with no pictures. First one ball, then two, then a pause of several weeks. "
    "When the third ball finally stayed in the air, there was nobody in the room but the cat, who chose to yawn.",
    "The valley was so quiet after the snow that we heard the church bells from the other side. Smoke rose straight "
    "up from each chimney. By evening the ploughs had cleared the pass, and the first lorries crept down in a line.",
    "Yesterday the post brought a parcel with foreign stamps. Inside were dried figs, a measure of striped cloth, "
    "and a letter in large, careful writing. My aunt read it aloud twice and then put it in the drawer with the "
    "others.",
    "If you hear the pump make a clicking sound, turn the red switch off and wait. Usually there is only air in the "
    "pipe. Open the small valve, let it hiss until water appears, close it, and write the date in the notebook.",
    "The students share a large flat above the bakery. They wake at five, when the ovens are lit, and go to sleep "
    "again in the warm smell of rolls. One plays the cello, one studies rocks, and the third is always mending a "
    "bicycle.",
    "A good map shows more than roads. It tells you where the ground is wet, which hills have a view, and how far "
    "apart the wells are. My grandfather drew one of the whole parish by hand, and it hangs, framed, above the "
    "piano.",
    "At the market they sell cherries by the bucket. You may taste before you choose, though it is rude to taste "
    "from every stall. We bought three pounds, ate half on the way home, and hung the best pairs over our ears.",
    "The theatre group needs a door that slams, a moon that rises, and somebody who can sew. Rehearsals are on "
    "Monday and Wednesday after supper. Nobody is paid, everybody is thanked, and there is usually cake at the end.",
    "Morning fog covered the airfield, so the pilots drank tea and told each other stories. Around ten a pale sun "
    "broke through, engines coughed, and one after another the small planes rolled out, turned, and were gone in "
    "the haze.",
)
